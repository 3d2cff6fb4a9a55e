use super::binding::{Attempt, Binding};
use super::files::Fetch;
use super::*;
use crate::directory::Number;
use crate::provisioning::device::CODE_LIFETIME;
use crate::store::customers::{self, tests::acme};
use crate::store::numbers::{self, NewNumber};
use crate::store::open::tests::fresh;
use crate::store::{Change, Store, UserSettings};
use std::net::{IpAddr, Ipv4Addr};
use time::Duration;

const NOW: OffsetDateTime = time::macros::datetime!(2026-01-02 03:04:05 UTC);
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const MAC: &str = "001565aabbcc";

/// A customer with two users who have all that they need, and two models on its list.
struct Desk {
    store: Store,
    customer: Uuid,
    users: [Uuid; 2],
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let (folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        for model in ["yealink-t46u", "poly-soundpoint-ip450"] {
            models::add(&mut change, customer, model).await.unwrap();
        }
        let users = [
            user(&mut change, customer, "1001", "+14255550100").await,
            user(&mut change, customer, "1002", "+14255550101").await,
        ];
        change.publish().await.unwrap();
        Self {
            store,
            customer,
            users,
            _folder: folder,
        }
    }

    async fn insert(&self, new: &NewDevice) -> Result<DeviceRecord, StoreError> {
        let mut change = self.store.change().await.unwrap();
        let device = insert(&mut change, self.customer, new, NOW).await?;
        change.publish_for(&[self.customer]).await?;
        Ok(device)
    }

    async fn code(&self, device: Uuid, at: OffsetDateTime) -> Option<String> {
        let mut connection = self.store.read().await.unwrap();
        let code = codes::of_device(&mut connection, self.store.keys(), device, at)
            .await
            .unwrap();
        code.map(|code| code.code.expose().to_owned())
    }

    async fn bind(&self, mac: &str, code: &str, at: OffsetDateTime) -> Binding {
        let attempt = Attempt {
            mac: mac.parse().unwrap(),
            code,
            source: SOURCE,
        };
        self.store.bind_device(&attempt, at).await.unwrap()
    }

    async fn deactivate(&self, device: &DeviceRecord) -> DeviceRecord {
        let mut change = self.store.change().await.unwrap();
        let gone = deactivate(&mut change, device, NOW).await.unwrap();
        change.publish_for(&[self.customer]).await.unwrap();
        gone
    }

    async fn find(&self, device: Uuid) -> DeviceRecord {
        let mut connection = self.store.read().await.unwrap();
        find(&mut connection, device).await.unwrap().unwrap()
    }
}

async fn user(change: &mut Change, customer: Uuid, extension: &str, number: &str) -> Uuid {
    let did: Number = number.parse().unwrap();
    let new = NewNumber::from(did);
    numbers::insert(change, customer, &new).await.unwrap();
    let settings: UserSettings = serde_json::from_value(serde_json::json!({
        "upn": format!("{extension}@a.example"), "display_name": format!("User {extension}"), "extension": extension,
        "default_did": number, "license_assigned": true,
    }))
    .unwrap();
    users::insert(change, customer, &settings, &[])
        .await
        .unwrap()
        .id
}

fn by_mac(user: Uuid, mac: &str) -> NewDevice {
    NewDevice {
        user_id: user,
        model: "yealink-t46u".into(),
        method: DeviceMethod::Mac,
        mac: Some(mac.into()),
        site: None,
    }
}

fn by_code(user: Uuid) -> NewDevice {
    NewDevice {
        method: DeviceMethod::Code,
        mac: None,
        ..by_mac(user, "")
    }
}

/// D-07: a telephone whose address is known is what calls know at once; D-37: taken away, calls know nothing of it, its
/// user is free for another, and so is its address.
#[tokio::test]
async fn a_telephone_comes_and_goes() {
    let desk = Desk::new().await;
    let device = desk
        .insert(&by_mac(desk.users[0], "00:15:65:AA:BB:CC"))
        .await;
    let device = device.unwrap();
    assert_eq!(
        (device.state, device.mac.as_deref()),
        (DeviceState::Activated, Some(MAC))
    );
    assert_eq!(device.extension.as_deref(), Some("1001"));
    let directory = desk.store.directory().load_full();
    let phone = directory.phone(&device.sip_username).unwrap();
    assert_eq!((&*phone.extension, phone.active), ("1001", true));
    assert_eq!(
        phone.password,
        device.secrets(desk.store.keys()).unwrap().sip
    );
    assert_eq!(phone.number, None, "no Sync has put the number in service");
    for (user, mac) in [(desk.users[0], "001565aabbcd"), (desk.users[1], MAC)] {
        let taken = desk.insert(&by_mac(user, mac)).await.unwrap_err();
        let column = if mac == MAC {
            "devices.mac"
        } else {
            "devices.user_id"
        };
        assert!(matches!(taken, StoreError::Taken(c) if c == column));
    }
    let gone = desk.deactivate(&device).await;
    assert_eq!((gone.state, gone.user_id), (DeviceState::Deactivated, None));
    let directory = desk.store.directory().load_full();
    assert!(directory.phone(&device.sip_username).is_none());
    let again = desk.insert(&by_mac(desk.users[0], MAC)).await.unwrap();
    assert_ne!(again.sip_username, device.sip_username);
    let secrets = |device: &DeviceRecord| device.secrets(desk.store.keys()).unwrap();
    assert_ne!(secrets(&again), secrets(&device));
}

/// Two telephones for one user cannot both be active, whatever code forgets to look: the database says so.
#[tokio::test]
async fn the_database_allows_one_active_telephone() {
    let desk = Desk::new().await;
    desk.insert(&by_mac(desk.users[0], MAC)).await.unwrap();
    let mut change = desk.store.change().await.unwrap();
    let mut add_unseen = async |user, mac: &str| {
        let mac = mac.parse().ok();
        let new = by_mac(user, "");
        add(&mut change, desk.customer, &new, mac, "1", NOW).await
    };
    assert!(matches!(
        add_unseen(desk.users[0], "001565aabbcd").await,
        Err(StoreError::Taken(_))
    ));
    assert!(matches!(
        add_unseen(desk.users[1], MAC).await,
        Err(StoreError::Taken(_))
    ));
    assert!(add_unseen(desk.users[1], "001565aabbcd").await.is_ok());
}

/// A user with a telephone cannot go; what it is called and which number it has, calls know without a Sync.
#[tokio::test]
async fn calls_know_a_user_that_has_a_telephone() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_mac(desk.users[0], MAC)).await.unwrap();
    let mut change = desk.store.rows().await.unwrap();
    let kept = users::delete(&mut change, desk.customer, desk.users[0]).await;
    assert!(matches!(kept, Err(StoreError::Reference)));
    drop(change);
    let mut change = desk.store.rows().await.unwrap();
    let user = users::find(&mut change, desk.customer, desk.users[0]).await;
    let mut settings = user.unwrap().unwrap().settings;
    (settings.display_name, settings.extension) = ("Zoë".into(), Some("2001".into()));
    users::update(&mut change, desk.customer, desk.users[0], &settings, &[])
        .await
        .unwrap();
    let number: Number = "+14255550100".parse().unwrap();
    numbers::put_in_service(&mut change, desk.customer, &number)
        .await
        .unwrap();
    change.keep_for(desk.customer).await.unwrap();
    let directory = desk.store.directory().load_full();
    let phone = directory.phone(&device.sip_username).unwrap();
    assert_eq!((&*phone.display_name, &*phone.extension), ("Zoë", "2001"));
    assert_eq!(phone.number, Some(number));
    let mut change = desk.store.rows().await.unwrap();
    settings.state = UserState::Disabled;
    users::update(&mut change, desk.customer, desk.users[0], &settings, &[])
        .await
        .unwrap();
    change.keep_for(desk.customer).await.unwrap();
    let directory = desk.store.directory().load_full();
    assert!(!directory.phone(&device.sip_username).unwrap().active);
    desk.deactivate(&device).await;
    let mut change = desk.store.rows().await.unwrap();
    let gone = users::delete(&mut change, desk.customer, desk.users[0]).await;
    assert!(gone.is_ok(), "the user of a telephone that was taken away");
}

/// D-10, D-22: the right code makes a telephone the user's, once.
#[tokio::test]
async fn a_code_binds_once() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_code(desk.users[0])).await.unwrap();
    assert_eq!(device.state, DeviceState::AwaitingCode);
    assert!(
        desk.store
            .directory()
            .load()
            .phone(&device.sip_username)
            .is_none()
    );
    let code = desk.code(device.id, NOW).await.unwrap();
    let Binding::Bound(bound) = desk.bind(MAC, &code, NOW).await else {
        panic!("the code is right");
    };
    assert_eq!(
        (bound.state, bound.mac.as_deref()),
        (DeviceState::Activated, Some(MAC))
    );
    let directory = desk.store.directory().load_full();
    let phone = directory
        .phone_with(&[0, 0x15, 0x65, 0xaa, 0xbb, 0xcc])
        .unwrap();
    assert_eq!(&*phone.auth_user, bound.sip_username);
    assert_eq!(desk.code(device.id, NOW).await, None);
    assert_eq!(
        desk.bind("001565aabbcd", &code, NOW).await,
        Binding::NotValid
    );
}

/// D-26: a code that was used, replaced or is too old opens nothing and changes nothing.
#[tokio::test]
async fn an_old_code_opens_nothing() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_code(desk.users[0])).await.unwrap();
    let first = desk.code(device.id, NOW).await.unwrap();
    let mut change = desk.store.rows().await.unwrap();
    let second = codes::issue(&mut change, device.id, NOW).await.unwrap();
    change.keep().await.unwrap();
    let second = second.code.expose().to_owned();
    assert_ne!(first, second);
    assert_eq!(desk.bind(MAC, &first, NOW).await, Binding::NotValid);
    let (late, before) = (NOW + CODE_LIFETIME, desk.find(device.id).await);
    assert_eq!(desk.code(device.id, late).await, None);
    assert_eq!(desk.bind(MAC, &second, late).await, Binding::NotValid);
    assert_eq!(desk.find(device.id).await, before);
    assert!(matches!(
        desk.bind(MAC, &second, NOW).await,
        Binding::Bound(_)
    ));
}

/// D-29: a user who got another telephone meanwhile has no use for the code: it is void.
#[tokio::test]
async fn a_user_with_another_telephone_is_not_bound() {
    let desk = Desk::new().await;
    let waiting = desk.insert(&by_code(desk.users[0])).await.unwrap();
    let code = desk.code(waiting.id, NOW).await.unwrap();
    let other = desk
        .insert(&by_mac(desk.users[0], "001565aabbcd"))
        .await
        .unwrap();
    assert_eq!(desk.bind(MAC, &code, NOW).await, Binding::NotValid);
    assert_eq!(desk.code(waiting.id, NOW).await, None);
    desk.deactivate(&other).await;
    assert_eq!(desk.bind(MAC, &code, NOW).await, Binding::NotValid);
}

/// A code binds a telephone of its model's maker that is nobody's, of a user who still has what is needed.
#[tokio::test]
async fn what_does_not_fit_is_not_bound() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_code(desk.users[0])).await.unwrap();
    let code = desk.code(device.id, NOW).await.unwrap();
    assert_eq!(
        desk.bind("000413aabbcc", &code, NOW).await,
        Binding::NotValid
    );
    let other = desk.insert(&by_mac(desk.users[1], MAC)).await.unwrap();
    assert_eq!(desk.bind(MAC, &code, NOW).await, Binding::NotValid);
    desk.deactivate(&other).await;
    let license = async |has: bool| {
        let mut change = desk.store.rows().await.unwrap();
        let user = users::find(&mut change, desk.customer, desk.users[0]).await;
        let mut settings = user.unwrap().unwrap().settings;
        settings.license_assigned = has;
        users::update(&mut change, desk.customer, desk.users[0], &settings, &[])
            .await
            .unwrap();
        change.keep_for(desk.customer).await.unwrap();
    };
    license(false).await;
    assert_eq!(desk.bind(MAC, &code, NOW).await, Binding::NotValid);
    license(true).await;
    assert!(matches!(
        desk.bind(MAC, &code, NOW).await,
        Binding::Bound(_)
    ));
}

/// Ten wrong codes from one telephone in an hour, a hundred from one address: then the right one is not looked at either.
#[tokio::test]
async fn who_guesses_is_locked_out() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_code(desk.users[0])).await.unwrap();
    let code = desk.code(device.id, NOW).await.unwrap();
    for n in 0..10 {
        let wrong = if n % 2 == 0 { "0000000000000" } else { "12" };
        assert_eq!(desk.bind(MAC, wrong, NOW).await, Binding::NotValid);
    }
    assert_eq!(desk.bind(MAC, &code, NOW).await, Binding::Locked);
    for n in 0..90 {
        let mac = format!("0015650000{:02}", n / 9 + 1);
        assert_eq!(desk.bind(&mac, "12", NOW).await, Binding::NotValid, "{n}");
    }
    let fresh = "001565aabb00";
    assert_eq!(desk.bind(fresh, &code, NOW).await, Binding::Locked);
    let later = NOW + Duration::hours(1);
    assert!(matches!(
        desk.bind(fresh, &code, later).await,
        Binding::Bound(_)
    ));
}

/// Places of wrong codes are bounded: with all taken, a new one waits until old ones are an hour old.
#[tokio::test]
async fn remembered_places_are_bounded() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_code(desk.users[0])).await.unwrap();
    let code = desk.code(device.id, NOW).await.unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO activation_tries (place, began_at, wrong) SELECT 'ip ' || i, ?, 1 FROM n";
    let mut change = desk.store.rows().await.unwrap();
    sqlx::query(fill)
        .bind(micros(NOW))
        .execute(&mut *change)
        .await
        .unwrap();
    change.keep().await.unwrap();
    assert_eq!(desk.bind(MAC, &code, NOW).await, Binding::Locked);
    let later = NOW + Duration::hours(1);
    assert!(matches!(
        desk.bind(MAC, &code, later).await,
        Binding::Bound(_)
    ));
}

/// Codes that are over are remembered in bounded number.
#[tokio::test]
async fn remembered_codes_are_bounded() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_code(desk.users[0])).await.unwrap();
    let mut change = desk.store.rows().await.unwrap();
    for _ in 0..50 {
        codes::issue(&mut change, device.id, NOW).await.unwrap();
    }
    let kept: (i64, i64) =
        sqlx::query_as("SELECT count(*), count(code) FROM activation_codes WHERE device_id = ?")
            .bind(device.id.to_string())
            .fetch_one(&mut *change)
            .await
            .unwrap();
    assert_eq!(kept, (20, 1), "and one of them can be read");
}

/// D-20, D-30: without a proof the file is had once within half an hour; a telephone that fetched and registered is
/// online until it no longer is.
#[tokio::test]
async fn a_file_is_fetched_and_noted() {
    let desk = Desk::new().await;
    let device = desk.insert(&by_mac(desk.users[0], MAC)).await.unwrap();
    let fetch = |once| Fetch {
        ip: SOURCE,
        user_agent: Some("Yealink SIP-T46U\r\n108.86.0.20"),
        once,
    };
    let store = &desk.store;
    let fetched = async |once, at| {
        store
            .device_fetched(device.id, &fetch(once), at)
            .await
            .unwrap()
    };
    assert!(
        !fetched(true, NOW + Duration::minutes(30)).await,
        "too late"
    );
    assert!(fetched(true, NOW + Duration::minutes(29)).await);
    assert!(!fetched(true, NOW + Duration::minutes(29)).await, "once");
    assert!(fetched(false, NOW + Duration::hours(2)).await);
    let seen = desk.find(device.id).await;
    assert_eq!(seen.state, DeviceState::Provisioning);
    assert_eq!(seen.last_ip.as_deref(), Some("192.0.2.1"));
    let agent = seen.last_user_agent.as_deref();
    assert_eq!(agent, Some("Yealink SIP-T46U108.86.0.20"));
    for (registered, news, state) in [
        (true, true, DeviceState::Online),
        (true, false, DeviceState::Online),
        (false, true, DeviceState::Offline),
        (false, false, DeviceState::Offline),
    ] {
        let told = store
            .device_registered(device.id, registered, NOW)
            .await
            .unwrap();
        assert_eq!((told, desk.find(device.id).await.state), (news, state));
        let noted = online(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(noted.contains(&device.id), registered);
    }
    assert!(
        !store
            .device_registered(Uuid::nil(), true, NOW)
            .await
            .unwrap()
    );
    desk.deactivate(&device).await;
    assert!(!fetched(false, NOW).await);
}

/// By address as labels have it, by extension, by name; signs of patterns are themselves.
#[tokio::test]
async fn telephones_are_found() {
    let desk = Desk::new().await;
    let mine = desk.insert(&by_mac(desk.users[0], MAC)).await.unwrap();
    let other = desk.insert(&by_code(desk.users[1])).await.unwrap();
    let find = async |filter: DeviceFilter| {
        let mut connection = desk.store.read().await.unwrap();
        let page = Page::default();
        let found = list(&mut connection, desk.customer, &filter, page).await;
        let ids = found.unwrap().items.into_iter().map(|device| device.id);
        ids.collect::<Vec<_>>()
    };
    let search = |text: &str| DeviceFilter {
        search: Some(text.into()),
        ..DeviceFilter::default()
    };
    assert_eq!(find(DeviceFilter::default()).await, [mine.id, other.id]);
    assert_eq!(find(search("15:65:AA")).await, [mine.id]);
    assert_eq!(find(search("1002")).await, [other.id]);
    assert_eq!(find(search("user 100")).await, [mine.id, other.id]);
    assert!(find(search("%")).await.is_empty());
    assert!(find(search("1_02")).await.is_empty());
    let waiting = DeviceFilter {
        state: Some(DeviceState::AwaitingCode),
        ..DeviceFilter::default()
    };
    assert_eq!(find(waiting).await, [other.id]);
    let of_user = DeviceFilter {
        user: Some(desk.users[0]),
        model: Some("yealink-t46u".into()),
        ..DeviceFilter::default()
    };
    assert_eq!(find(of_user).await, [mine.id]);
}
