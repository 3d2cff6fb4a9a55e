//! A trace as an operator reads it.

use std::fmt;

use super::super::Music;
use super::*;

/// As an operator reads it, a line for each step.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { ms, fact } in &self.steps {
            writeln!(f, "{ms:>9} ms  {fact}")?;
        }
        if self.left_out > 0 {
            writeln!(
                f,
                "              and {} more steps that found no room",
                self.left_out
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received {
                from,
                transport,
                certificate,
            } => {
                write!(f, "INVITE from {from} over {transport}")?;
                if !certificate.is_empty() {
                    write!(f, ", with a certificate for {}", certificate.join(", "))?;
                }
                Ok(())
            }
            Self::Peer { peers, by } => {
                write!(f, "the peer is {}, known by ", peers.join(" or "))?;
                match by {
                    Proof::CertificateAndRange => f.write_str("Microsoft's certificate and range"),
                    Proof::Digest => f.write_str("its password"),
                    Proof::Network { address, prefix } => {
                        write!(f, "its address in {address}/{prefix}")
                    }
                }
            }
            Self::Credentials { trunk, found } => {
                write!(f, "credentials of {trunk}: {}", found.words())
            }
            Self::Gateway {
                host,
                state: Some(state),
            } => {
                write!(f, "gateway {host}, {}", state.name())
            }
            Self::Gateway { host, state: None } => write!(f, "{host} is no gateway"),
            Self::Trunk { trunk } => write!(f, "the called number chose the trunk {trunk}"),
            Self::Customer {
                account,
                admin,
                activation,
                ..
            } => write!(
                f,
                "customer {account}, {}, {}",
                admin.name(),
                activation.name()
            ),
            Self::Number {
                dialled,
                number,
                found,
            } => {
                write!(f, "called {dialled}, read as {number}: {}", found.words())
            }
            Self::Caller {
                presented,
                number,
                screening,
            } => {
                write!(
                    f,
                    "caller {presented}, passed on as {number}: {}",
                    screening.words()
                )
            }
            Self::Limit {
                of,
                name,
                in_use,
                limit,
                outcome,
            } => {
                let whose = match of {
                    LimitOf::Customer => "customer",
                    LimitOf::Trunk => "trunk",
                };
                match limit {
                    Some(limit) => {
                        write!(f, "limit of {whose} {name}: {in_use} of {limit} in use")?
                    }
                    None => write!(f, "{whose} {name} has no limit: {in_use} in use")?,
                }
                f.write_str(match outcome {
                    LimitOutcome::Taken => ", this call among them",
                    LimitOutcome::Busy => ", none is free",
                    LimitOutcome::Exempt => ", which an emergency call passes",
                })
            }
            Self::Candidates { targets } => {
                f.write_str("may go to")?;
                for (at, target) in targets.iter().enumerate() {
                    let down = if target.up { "" } else { " (down)" };
                    write!(
                        f,
                        "{} {} at {}{down}",
                        if at == 0 { "" } else { "," },
                        target.peer,
                        target.host
                    )?;
                }
                Ok(())
            }
            Self::Attempt {
                peer,
                host,
                call_id,
            } => {
                write!(f, "INVITE to {peer} at {host}, Call-ID {call_id}")
            }
            Self::Resolved {
                addresses,
                failure: None,
            } => {
                let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "DNS: {}", texts.join(", "))
            }
            Self::Resolved {
                failure: Some(failure),
                ..
            } => write!(f, "DNS failed: {failure}"),
            Self::NextAddress { failure } => write!(f, "{failure}; the next address is tried"),
            Self::Failed {
                peer,
                failure,
                next,
            } => {
                let then = if *next {
                    "the next target may be tried"
                } else {
                    "that is final"
                };
                write!(f, "{peer}: {failure}; {then}")
            }
            Self::Progress { status } => write!(f, "the called side says {status}"),
            Self::Answered { peer } => write!(f, "{peer} answered"),
            Self::Announced {
                announcement,
                with_answer,
            } => {
                let how = if *with_answer {
                    "after a 200"
                } else {
                    "as early media"
                };
                write!(f, "the caller hears {} {how}", announcement.name())
            }
            Self::Refused {
                status,
                q850,
                rule,
                why,
            } => {
                write!(f, "ended with {status}")?;
                if let Some(cause) = q850 {
                    write!(f, " (Q.850 cause {cause})")?;
                }
                write!(f, " by rule {rule}: {why}")
            }
            Self::Held { by, music } => write!(
                f,
                "{by} holds; the other side hears {}",
                match music {
                    Music::BuiltIn => "our music",
                    Music::Pbx => "its PBX's music",
                }
            ),
            Self::Resumed { by } => write!(f, "{by} resumes"),
            Self::Refer { by, refused: None } => write!(f, "{by} asks for a transfer"),
            Self::Refer {
                by,
                refused: Some(status),
            } => {
                write!(f, "{by} asks for a transfer and is refused with {status}")
            }
            Self::Replaced { by, call_id } => {
                write!(
                    f,
                    "an INVITE of {by} takes the place of a leg, Call-ID {call_id}"
                )
            }
            Self::Transferred { to } => write!(f, "transferred to {to}"),
            Self::TransferFailed { status, why } => {
                write!(f, "the transfer failed with {status}: {why}")
            }
            Self::Silent { side, why } => {
                write!(f, "the {side} was not heard: {}", why.name())
            }
            Self::Ended { why, by, q850 } => {
                write!(f, "over: {why} (Q.850 cause {q850})")?;
                match by {
                    Some(peer) => write!(f, ", by {peer}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status {
                status,
                phrase,
                reasons,
            } => {
                write!(f, "answered {status} {phrase}")?;
                reasons
                    .iter()
                    .try_for_each(|reason| write!(f, " [{reason}]"))
            }
            Self::Timeout => f.write_str("no answer in time"),
            Self::Transport { what } => write!(f, "not reached: {what}"),
            Self::Unresolvable { what } => write!(f, "its name leads nowhere: {what}"),
            Self::NotStarted { what } => write!(f, "not tried: {what}"),
            Self::Unusable { what } => write!(f, "its answer cannot be used: {what}"),
        }
    }
}

impl Credentials {
    fn words(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Missing => "missing, asked for by 401",
            Self::Stale => "for an old question, asked for again by 401",
            Self::Malformed => "malformed",
            Self::Wrong => "an unknown user or a wrong password",
        }
    }
}

impl Found {
    fn words(self) -> &'static str {
        match self {
            Self::Owned => "a number of the customer",
            Self::OutOfService => "a number of the customer that is out of service",
            Self::Foreign => "a number of another customer",
            Self::Nobodys => "nobody's number",
            Self::Empty => "no number at all",
            Self::Emergency => "an emergency number, which passes limits and screening",
            Self::Outside => "a number to be reached through a trunk",
        }
    }
}

impl Screening {
    fn words(self) -> &'static str {
        match self {
            Self::Passed => "a number of the customer",
            Self::Refused => "no number that the customer may present",
            Self::Off => "the customer wants no screening",
            Self::Emergency => "not screened, for it is an emergency",
            Self::NotFromTeams => "not screened, for its trunk may present any number",
            Self::Outside => "a number from outside that its trunk may present",
            Self::Foreign => "a number of another customer that its trunk may present",
        }
    }
}
