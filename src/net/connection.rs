//! One TCP or TLS connection from its first byte to its last: reading, writing and tending run side by side in one
//! task, and whichever ends first ends the connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Event;
use super::hub::Hub;
use super::link::{Link, Outgoing};
use crate::sip::framing::{Frame, FramingError, StreamFramer};
use crate::sip::{SendId, Source, Target};

/// RFC 5626 §3.5.1.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";
/// Most messages are shorter, and many connections are silent most of the time.
const READ: usize = 4096;
/// Messages written at once.
const BATCH: usize = 64;
/// To write what is left and to say goodbye.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the peer does not speak SIP: {0}")]
    Framing(FramingError),
    #[error("the peer has stopped reading")]
    Stalled,
    #[error("the connection was idle")]
    Idle,
    #[error("the connection was replaced")]
    Replaced,
    #[error("we are stopping")]
    Stopping,
}

impl From<io::Error> for Ending {
    /// A TLS peer that leaves without its closing alert has closed all the same.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broken(error),
        }
    }
}

/// What a connection leaves behind.
pub(super) struct Left {
    pub ending: Ending,
    /// What was not written, or not to its end.
    pub unwritten: Vec<Outgoing>,
    /// What was written on a connection on which nothing ever came back, up to a limit: a TLS 1.3 server that refuses
    /// our certificate says so only after our first bytes are gone.
    pub unheard: Vec<SendId>,
}

/// Carries messages until the connection ends. `own` is the target of a connection that we opened.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(
    stream: S,
    source: &Source,
    own: Option<&Target>,
    link: &Link,
    queue: &mut mpsc::Receiver<Outgoing>,
    hub: &Hub,
) -> Left {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut written = Written {
        batch: Vec::new(),
        unheard: Vec::new(),
    };
    let mut stopping = hub.stopping();
    let ending = tokio::select! {
        ending = read(reader, source, link, hub) => ending,
        ending = write(&mut writer, link, queue, &mut written, hub) => ending,
        ending = tend(link, own, hub) => ending,
        _ = stopping.wait_for(|stop| *stop) => Ending::Stopping,
    };
    queue.close();
    let broken = matches!(
        ending,
        Ending::Broken(_) | Ending::Stalled | Ending::Framing(_)
    );
    // Requests that a peer will not read any more go to its next connection; after half a message none can follow.
    let lost =
        broken || !written.batch.is_empty() || (own.is_some() && matches!(ending, Ending::Closed));
    if !lost {
        let _ = timeout(LAST_WORDS, flush(&mut writer, link, queue, &mut written)).await;
    }
    let _ = timeout(LAST_WORDS, writer.shutdown()).await;
    let mut unwritten = written.batch;
    while let Ok(outgoing) = queue.try_recv() {
        unwritten.push(outgoing);
    }
    let unheard = if link.has_heard() {
        Vec::new()
    } else {
        written.unheard
    };
    Left {
        ending,
        unwritten,
        unheard,
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    source: &Source,
    link: &Link,
    hub: &Hub,
) -> Ending {
    let mut framer = StreamFramer::new();
    let mut buffer = vec![0; READ];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Ending::Closed,
            Ok(n) => framer.push(&buffer[..n]),
            Err(error) => return error.into(),
        }
        while let Some(frame) = framer.next() {
            link.hears();
            match frame {
                Ok(Frame::Message(bytes)) => {
                    link.carries();
                    hub.counters.messages_received.add();
                    // Waiting here is what holds a fast peer back.
                    if !hub
                        .inbox
                        .arrive(Event::Received {
                            bytes,
                            source: source.clone(),
                        })
                        .await
                    {
                        return Ending::Stopping;
                    }
                }
                // An answer that finds no room is an answer to one ping of too many.
                Ok(Frame::Ping) => drop(link.push(Outgoing::KeepAlive(PONG))),
                Ok(Frame::Pong) => (),
                Err(error) => return Ending::Framing(error),
            }
        }
    }
}

/// What the writer has in its hands.
struct Written {
    batch: Vec<Outgoing>,
    unheard: Vec<SendId>,
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    link: &Link,
    queue: &mut mpsc::Receiver<Outgoing>,
    written: &mut Written,
    hub: &Hub,
) -> Ending {
    let mut buffer = Vec::new();
    loop {
        if queue.recv_many(&mut written.batch, BATCH).await == 0 {
            return Ending::Stopping;
        }
        let bytes = match &written.batch[..] {
            [one] => one.bytes(),
            several => {
                buffer.clear();
                several
                    .iter()
                    .for_each(|outgoing| buffer.extend_from_slice(outgoing.bytes()));
                &buffer
            }
        };
        let all = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        match timeout(hub.config.write_timeout, all).await {
            Ok(Ok(())) => link.taken(bytes.len()),
            Ok(Err(error)) => return error.into(),
            Err(_) => return Ending::Stalled,
        }
        link.speaks();
        for outgoing in written.batch.drain(..) {
            let Outgoing::Message { id, .. } = outgoing else {
                continue;
            };
            link.carries();
            hub.counters.messages_sent.add();
            if written.unheard.len() < BATCH && !link.has_heard() {
                written.unheard.push(id);
            }
        }
        buffer.shrink_to(16 * READ);
    }
}

/// Writes what is in the queue, which takes nothing new.
async fn flush(
    writer: &mut (impl AsyncWrite + Unpin),
    link: &Link,
    queue: &mut mpsc::Receiver<Outgoing>,
    written: &mut Written,
) -> io::Result<()> {
    while queue.recv_many(&mut written.batch, 1).await > 0 {
        for outgoing in &written.batch {
            writer.write_all(outgoing.bytes()).await?;
            link.taken(outgoing.bytes().len());
        }
        writer.flush().await?;
        written.batch.clear();
    }
    Ok(())
}

/// Watches the clock: pings, renewal, idleness.
async fn tend(link: &Link, own: Option<&Target>, hub: &Hub) -> Ending {
    let config = &hub.config;
    match own {
        Some(target) => {
            if let Some(ending) = tend_own(link, target, hub).await {
                return ending;
            }
        }
        None => tokio::select! {
            ending = idle(config.idle_timeout, || link.unheard()) => return ending,
            () = link.retirement() => (),
        },
    }
    let limit = Instant::now() + config.drain_limit;
    tokio::select! {
        _ = idle(config.drain_idle, || link.unused()) => Ending::Replaced,
        () = tokio::time::sleep_until(limit) => Ending::Replaced,
    }
}

/// Keeps a connection of ours alive until it ends for want of use, or is retired.
async fn tend_own(link: &Link, target: &Target, hub: &Hub) -> Option<Ending> {
    let config = &hub.config;
    // Not all at once, when many were opened at once.
    let renew = config
        .renew_after
        .mul_f64(1.0 - rand::random::<f64>() / 10.0);
    while !link.is_retired() {
        if link.age() >= renew {
            hub.counters.renewed.add();
            hub.release(target, link.flow);
            link.retire();
            break;
        }
        if link.unused() >= config.own_idle_timeout {
            hub.release(target, link.flow);
            return Some(Ending::Idle);
        }
        if link.unspoken() >= config.keep_alive {
            link.speaks();
            let _ = link.push(Outgoing::KeepAlive(PING)); // a full queue keeps the connection alive by itself
        }
        let next = renew
            .saturating_sub(link.age())
            .min(config.own_idle_timeout.saturating_sub(link.unused()))
            .min(config.keep_alive.saturating_sub(link.unspoken()));
        tokio::select! {
            () = pause(next) => (),
            () = link.retirement() => (),
        }
    }
    None
}

/// Returns once the silence has lasted so long.
async fn idle(limit: Duration, silence: impl Fn() -> Duration) -> Ending {
    loop {
        let left = limit.saturating_sub(silence());
        if left.is_zero() {
            return Ending::Idle;
        }
        pause(left).await;
    }
}

/// A little longer than `time`, because ages are counted in whole milliseconds.
async fn pause(time: Duration) {
    sleep(time + Duration::from_millis(2)).await;
}
