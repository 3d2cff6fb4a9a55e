//! Scenarios for sipp, written step by step: what one party says in one dialog, and what it must hear. What a test wants
//! to know of it is logged, a line each, with a word in front.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// How the parties write.
#[derive(Clone, Copy, PartialEq)]
enum Party {
    Teams,
    Pbx,
}

/// Where an expression is looked for.
#[derive(Clone, Copy)]
enum In<'a> {
    Body,
    Message,
    Header(&'a str),
}

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("search_in=\"body\""),
            Self::Message => f.write_str("search_in=\"msg\""),
            Self::Header(name) => {
                write!(
                    f,
                    "search_in=\"hdr\" header=\"{name}:\" case_indep=\"true\""
                )
            }
        }
    }
}

/// The steps of one dialog.
pub struct Script {
    party: Party,
    text: String,
    sequence: u32,
    labels: u32,
    variables: BTreeSet<String>,
}

/// The most that come of one REFER: 100, 180 and the end.
const NOTIFICATIONS: usize = 3;
/// Where Teams wants to be reached inside the dialog; the edge finds this sipp by `x-s`.
const CONTACT: &str = "Contact: <sip:api-du-a-euwe.pstnhub.microsoft.com:443;\
    x-i=b712d12c-0000-4000-8000-000000000000;x-s=[local_port]>\n";

impl Script {
    /// Of Teams, behind its edge.
    pub fn teams() -> Self {
        Self::of(Party::Teams)
    }

    /// Of the PBX.
    pub fn pbx() -> Self {
        Self::of(Party::Pbx)
    }

    fn of(party: Party) -> Self {
        Self {
            party,
            text: String::new(),
            sequence: 0,
            labels: 0,
            variables: BTreeSet::new(),
        }
    }

    /// Calls; `headers` go along, each with its line end.
    pub fn calls(mut self, headers: &str) -> Self {
        self.sequence += 1;
        let more = match self.party {
            Party::Teams => {
                "Allow: INVITE,ACK,CANCEL,BYE,INFO,NOTIFY,PRACK,UPDATE,OPTIONS\n\
                 Supported: histinfo,timer\nP-Asserted-Identity: <tel:[caller]>,<sip:adele@contoso.test>\n\
                 Privacy: id\nMin-SE: 300\nSession-Expires: 3600;refresher=uac\n"
            }
            Party::Pbx => "",
        };
        let headers = format!("{}{more}{headers}", self.contact());
        let sdp = self.description("sendrecv");
        self.send("INVITE", self.target(), false, &headers, &sdp, true);
        self.text
            .push_str("<recv response=\"100\" optional=\"true\"/>\n");
        self
    }

    /// Hears it ring, without a description: whoever calls plays ringback by itself (TDR-505). Logged: `rings TAG`.
    pub fn hears_ringing(mut self) -> Self {
        let (no_media, tag) = (self.lacks("m=audio", In::Body), self.tag("To"));
        let log = log("rings", "[$tag]");
        self.receive("response=\"180\"", &[no_media, tag, log]);
        self
    }

    /// Lets it ring as it likes.
    pub fn may_hear_ringing(mut self) -> Self {
        for status in [180, 183] {
            self.receive(&format!("response=\"{status}\" optional=\"true\""), &[]);
        }
        self
    }

    /// Is answered, and acknowledges. Logged: `key KEY` at Teams, and `dialog REPLACES`, which names this dialog to the
    /// SBC (RFC 3891).
    pub fn hears_answer(mut self) -> Self {
        let mut checks = self.media("sendrecv");
        checks.extend(self.own_contact());
        checks.push(self.tag("To"));
        checks.push(log(
            "dialog",
            "[call_id];to-tag=[$tag];from-tag=[pid]t[call_number]",
        ));
        self.receive("response=\"200\" rrs=\"true\"", &checks);
        self.acknowledges("")
    }

    /// Is refused, and acknowledges.
    pub fn hears_refusal(mut self, status: u16) -> Self {
        self.receive(&format!("response=\"{status}\""), &[]);
        // RFC 3261 §17.1.1.3: the ACK goes with the INVITE's transaction.
        let text = self.request("ACK", self.target(), true, "");
        let text = text.replace("[branch]", "[branch-3]");
        self.write("", &text.replace("[routes]\n", ""), "");
        self
    }

    /// Offers this direction, and hears the same.
    pub fn reinvites(mut self, direction: &str) -> Self {
        self.sequence += 1;
        let (contact, sdp) = (self.contact(), self.description(direction));
        self.send("INVITE", "[next_url]", true, &contact, &sdp, true);
        self.text
            .push_str("<recv response=\"100\" optional=\"true\"/>\n");
        let checks = self.media(direction);
        self.receive("response=\"200\"", &checks);
        self.acknowledges("")
    }

    /// Asks for an offer, which must want to talk (TDR-607), and answers it in the ACK.
    pub fn resumes_without_an_offer(mut self) -> Self {
        self.sequence += 1;
        let contact = self.contact();
        self.send("INVITE", "[next_url]", true, &contact, "", true);
        self.text
            .push_str("<recv response=\"100\" optional=\"true\"/>\n");
        let checks = self.media("sendrecv");
        self.receive("response=\"200\"", &checks);
        let sdp = self.description("sendrecv");
        self.acknowledges(&sdp)
    }

    /// Hands its partner on, and hears how that goes to its end. Logged: `heard 202`, and `notified STATUS STATE` each
    /// time.
    pub fn refers(mut self, refer_to: &str, referred_by: &str) -> Self {
        self.sequence += 1;
        let headers = format!(
            "{}Refer-To: <{refer_to}>\nReferred-By: <{referred_by}>\n",
            self.contact()
        );
        self.send("REFER", "[next_url]", true, &headers, "", true);
        let done = self.label();
        self.receive("response=\"202\"", &[log("heard", "202")]);
        // Step by step: a jump back would take a moment in which sipp expects nothing.
        for _ in 0..NOTIFICATIONS {
            let status = self.matches("SIP/2.0 ([0-9]+)", In::Body, "line,status");
            let state = self.matches("[a-z]+", In::Header("Subscription-State"), "state");
            let last = self.may_match("terminated", In::Header("Subscription-State"), "last");
            let told = log("notified", "[$status] [$state]");
            self.receive("request=\"NOTIFY\"", &[status, state, last, told]);
            let end = format!(" next=\"{done}\" test=\"last\"");
            self.respond("200 OK", "", "", "", &end);
        }
        let _ = writeln!(self.text, "<label id=\"{done}\"/>");
        self
    }

    /// Hangs up.
    pub fn hangs_up(mut self) -> Self {
        self.sequence += 1;
        self.send("BYE", "[next_url]", true, "", "", true);
        self.receive("response=\"200\"", &[]);
        self
    }

    /// Is hung up on.
    pub fn hears_bye(mut self) -> Self {
        self.receive("request=\"BYE\"", &[]);
        self.respond("200 OK", "", "", "", "");
        // On a slow machine the BYE may come twice.
        self.text.push_str("<timewait milliseconds=\"500\"/>\n");
        self
    }

    /// Talks for as long.
    pub fn waits(mut self, milliseconds: u32) -> Self {
        let _ = writeln!(self.text, "<pause milliseconds=\"{milliseconds}\"/>");
        self
    }

    /// Is called. Logged: `called URI`, `to URI` and `referred by URI`.
    pub fn hears_call(mut self) -> Self {
        let mut checks = self.media("sendrecv");
        checks.extend(self.own_contact());
        if self.party == Party::Teams {
            checks.push(self.matches("^INVITE ([^ ]+) SIP/2.0", In::Message, "line,uri"));
            checks.push(self.matches("&lt;([^&gt;]*)&gt;", In::Header("To"), "header,to"));
            checks.push(self.may_match(
                "&lt;([^&gt;]*)&gt;",
                In::Header("Referred-By"),
                "header,by",
            ));
            checks.push(self.tag("From"));
            checks.push(log("called", "[$uri]"));
            checks.push(log("to", "[$to]"));
            checks.push(log("referred by", "[$by]"));
            checks.push(log("dialog", "[call_id];to-tag=[$tag];from-tag=[pid]u-one"));
        }
        self.receive("request=\"INVITE\"", &checks);
        self
    }

    /// Says that it works on it.
    pub fn tries(mut self) -> Self {
        self.respond("100 Trying", "", "", "", "");
        self
    }

    /// Says this, as one of several clients; `direction` is that of its description, if it has one.
    pub fn says(mut self, status: &str, client: &str, direction: Option<&str>) -> Self {
        let sdp = direction.map(|d| self.description(d)).unwrap_or_default();
        let contact = self.contact();
        self.respond(status, &format!(";tag=[pid]u-{client}"), &contact, &sdp, "");
        self
    }

    /// Answers, as one of several clients, and must be acknowledged as that one.
    pub fn answers(mut self, client: &str) -> Self {
        let (contact, sdp) = (self.contact(), self.description("sendrecv"));
        let tag = format!(";tag=[pid]u-{client}");
        self.respond("200 OK", &tag, &contact, &sdp, " retrans=\"500\"");
        let check = self.matches(
            &format!("tag=[0-9]+u-{client}"),
            In::Header("To"),
            "acknowledged",
        );
        self.expects_ack(&[check])
    }

    /// Refuses, with these headers.
    pub fn refuses(mut self, status: &str, headers: &str) -> Self {
        self.respond(status, ";tag=[pid]u-one", headers, "", " retrans=\"500\"");
        self.expects_ack(&[])
    }

    /// The scenario as sipp reads it.
    pub fn xml(self) -> String {
        let variables: Vec<_> = self.variables.into_iter().collect();
        let references = match variables.is_empty() {
            true => String::new(),
            false => format!("<Reference variables=\"{}\"/>\n", variables.join(",")),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"script\">\n{}{references}</scenario>\n",
            self.text
        )
    }

    /// On a slow machine the INVITE may come twice, and sipp knows it again only before its second response.
    fn expects_ack(mut self, checks: &[String]) -> Self {
        let again = self.label();
        let _ = writeln!(self.text, "<label id=\"{again}\"/>");
        self.receive(
            &format!("request=\"INVITE\" optional=\"true\" next=\"{again}\""),
            &[],
        );
        self.receive("request=\"ACK\"", checks);
        self
    }

    fn acknowledges(mut self, sdp: &str) -> Self {
        self.send("ACK", "[next_url]", true, "", sdp, false);
        self
    }

    /// What must be so in a description that the SBC writes: its key towards Teams, no word of Teams towards the PBX.
    fn media(&mut self, direction: &str) -> Vec<String> {
        let direction = self.matches(&format!("a={direction}"), In::Body, "direction");
        match self.party {
            Party::Teams => vec![
                direction,
                self.matches("m=audio [0-9]+ RTP/SAVP ", In::Body, "media"),
                self.matches(
                    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:([A-Za-z0-9+/]+)[|]2.31",
                    In::Body,
                    "crypto,key",
                ),
                self.lacks("candidate|a=crypto:2|0[.]0[.]0[.]0", In::Body),
                log("key", "[$key]"),
            ],
            Party::Pbx => vec![
                direction,
                self.matches("m=audio [0-9]+ RTP/AVP ", In::Body, "media"),
                self.lacks("crypto|SAVP|candidate", In::Body),
                self.lacks("pstnhub|[Xx]-[Mm][Ss]", In::Message),
            ],
        }
    }

    /// TDR-403: the customer's name, in whatever goes to Teams.
    fn own_contact(&mut self) -> Option<String> {
        (self.party == Party::Teams).then(|| {
            self.matches(
                "&lt;sip:[^@&gt;]*@?contoso.sbc1.tollgate.test",
                In::Header("Contact"),
                "contact",
            )
        })
    }

    /// The tag of the SBC in this header, as the variable `tag`.
    fn tag(&mut self, header: &str) -> String {
        self.matches(";tag=([^;[:cntrl:]]+)", In::Header(header), "header,tag")
    }

    /// The groups of the expression go into the variables, the whole match into the first.
    fn matches(&mut self, regexp: &str, within: In, variables: &str) -> String {
        self.looks(regexp, within, "check_it=\"true\" ", variables)
    }

    fn lacks(&mut self, regexp: &str, within: In) -> String {
        self.looks(regexp, within, "check_it_inverse=\"true\" ", "none")
    }

    fn may_match(&mut self, regexp: &str, within: In, variables: &str) -> String {
        self.looks(regexp, within, "", variables)
    }

    fn looks(&mut self, regexp: &str, within: In, check: &str, variables: &str) -> String {
        self.variables
            .extend(variables.split(',').map(str::to_owned));
        format!("<ereg regexp=\"{regexp}\" {within} {check}assign_to=\"{variables}\"/>\n")
    }

    fn label(&mut self) -> u32 {
        self.labels += 1;
        self.labels
    }

    fn receive(&mut self, what: &str, actions: &[String]) {
        let actions = match actions.is_empty() {
            true => String::new(),
            false => format!("<action>\n{}</action>", actions.concat()),
        };
        let _ = writeln!(self.text, "<recv {what}>{actions}</recv>");
    }

    fn respond(&mut self, status: &str, tag: &str, headers: &str, sdp: &str, attributes: &str) {
        let text = format!(
            "SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]{tag}\n\
             [last_Call-ID:]\n[last_CSeq:]\n{headers}"
        );
        self.write(attributes, &text, sdp);
    }

    fn send(
        &mut self,
        method: &str,
        uri: &str,
        within: bool,
        headers: &str,
        sdp: &str,
        again: bool,
    ) {
        let text = self.request(method, uri, within, headers);
        let again = if again { " retrans=\"500\"" } else { "" };
        self.write(again, &text, sdp);
    }

    fn write(&mut self, attributes: &str, head: &str, sdp: &str) {
        let (content, length) = match sdp.is_empty() {
            true => ("", "Content-Length: 0\n"),
            false => ("Content-Type: application/sdp\n", "Content-Length: [len]\n"),
        };
        let head = format!("{head}{content}{length}");
        let head = match self.party {
            Party::Teams => shouted(&head),
            Party::Pbx => head,
        };
        let _ = writeln!(
            self.text,
            "<send{attributes}><![CDATA[\n{head}\n{sdp}]]></send>"
        );
    }

    fn request(&self, method: &str, uri: &str, within: bool, headers: &str) -> String {
        let (routes, tag) = match within {
            true => ("[routes]\n", "[peer_tag_param]"),
            false => ("", ""),
        };
        let (from, to) = match self.party {
            Party::Teams => (
                "From: <sip:[caller]@sip.pstnhub.microsoft.com:5061;user=phone>",
                "To: <sip:[service]@[gateway]:5061;user=phone>",
            ),
            Party::Pbx => (
                "From: \"Telephone\" <sip:[caller]@[local_ip]>",
                "To: <sip:[service]@[remote_ip]>",
            ),
        };
        let sequence = self.sequence;
        format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             {routes}{from};tag=[pid]t[call_number]\n{to}{tag}\nCSeq: {sequence} {method}\nCall-ID: [call_id]\n\
             Max-Forwards: 70\n{headers}"
        )
    }

    fn target(&self) -> &'static str {
        match self.party {
            Party::Teams => "sip:[service]@[gateway]:5061;user=phone;transport=tls",
            Party::Pbx => "sip:[service]@[remote_ip]",
        }
    }

    fn contact(&self) -> String {
        match self.party {
            Party::Teams => CONTACT.to_owned(),
            Party::Pbx => "Contact: <sip:[local_ip]:[local_port]>\n".to_owned(),
        }
    }

    /// What the party offers or answers; its version counts with its requests (RFC 3264 §8).
    fn description(&self, direction: &str) -> String {
        let version = self.sequence;
        match self.party {
            Party::Teams => format!(
                "v=0\no=- 4711 {version} IN IP4 [local_ip]\ns=session\nc=IN IP4 [local_ip]\nt=0 0\n\
                 m=audio 26000 RTP/SAVP 104 9 18 0 8 101 13\na=rtcp:26001\na=rtcp-mux\na={direction}\n\
                 a=rtpmap:104 SILK/16000\na=rtpmap:9 G722/8000\na=rtpmap:18 G729/8000\na=rtpmap:0 PCMU/8000\n\
                 a=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=rtpmap:13 CN/8000\n\
                 a=ptime:20\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{TEAMS_KEY}|2^31\n"
            ),
            Party::Pbx => format!(
                "v=0\no=pbx 2 {version} IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\nt=0 0\n\
                 m=audio 40002 RTP/AVP 8 101\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n\
                 a=fmtp:101 0-15\na=ptime:20\na={direction}\n"
            ),
        }
    }
}

/// What Teams sends with.
pub const TEAMS_KEY: &str = "AX61QSEv1uh8h5Qu8+GAsfER0MNH3OT2Vru126OU";

/// Teams writes names of headers in capitals (TDR-206).
fn shouted(head: &str) -> String {
    let (start, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{start}\n");
    for line in headers.lines() {
        match line.split_once(": ").filter(|_| !line.starts_with('[')) {
            Some((name, value)) => {
                let _ = writeln!(text, "{}: {value}", name.to_uppercase());
            }
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

fn log(word: &str, text: &str) -> String {
    format!("<log message=\"{word} {text}\"/>\n")
}
