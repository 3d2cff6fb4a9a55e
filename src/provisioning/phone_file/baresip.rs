//! A line of baresip's `accounts`.

use super::escape::{quoted, url};
use super::{Line, Site};

pub(super) fn own(site: &Site, of: &Line) -> String {
    let name = quoted(&of.display_name);
    let (user, password) = (url(&of.user), quoted(of.password.expose()));
    format!(
        "\"{name}\" <sip:{user}@{}:{};transport={}>;auth_user={user};auth_pass={password};regint={}\n",
        site.host,
        site.port,
        site.transport.name(),
        site.expires_s,
    )
}
