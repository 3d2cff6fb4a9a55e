use super::series::IDLE;
use super::{BUILD, Kind, TABLE};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_util::MetricKindMask;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bounds of the histograms, in seconds: from a call on one machine to one that rings until it is given up.
const BUCKETS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];
/// How often what was recorded is folded together.
const UPKEEP: Duration = Duration::from_secs(60);

/// Why metrics cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address cannot be bound.
    #[error("metrics.listen {address}: {error}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The operating system's words.
        error: std::io::Error,
    },
    /// Something else in this process took the place of our recorder.
    #[error("another metrics recorder is installed in this process")]
    Recorder,
}

/// Answers `GET /metrics` until it is dropped.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Exporter {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Shows the metrics of this process at `http://address/metrics`. May be called more than once; all show the same.
///
/// # Errors
/// See [`MetricsError`].
pub async fn serve(address: SocketAddr) -> Result<Exporter, MetricsError> {
    let handle = installed()?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| MetricsError::Listen { address, error })?;
    let address = listener
        .local_addr()
        .map_err(|error| MetricsError::Listen { address, error })?;
    let show = move || async move {
        (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            shown(handle),
        )
    };
    let router = Router::new().route("/metrics", get(show));
    let answers = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    let upkeep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            handle.run_upkeep();
            // Idle series are dropped only by rendering, which nobody may ask for.
            shown(handle);
        }
    });
    Ok(Exporter {
        address,
        tasks: [answers, upkeep],
    })
}

fn shown(handle: &PrometheusHandle) -> String {
    BUILD.set([env!("CARGO_PKG_VERSION")], 1.0);
    handle.render()
}

fn installed() -> Result<&'static PrometheusHandle, MetricsError> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let recorder = recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe();
        Some(handle)
    };
    HANDLE
        .get_or_init(install)
        .as_ref()
        .ok_or(MetricsError::Recorder)
}

fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(IDLE));
    builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .expect("there are bounds")
        .build_recorder()
}

fn describe() {
    for metric in TABLE {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// What would be shown if only `record` had happened.
#[cfg(test)]
pub(super) fn rendered(record: impl FnOnce()) -> String {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        describe();
        record();
        shown(&recorder.handle())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{CALL_SETUP, CALLS_ACTIVE, SIP_MALFORMED};
    use super::*;

    /// A gauge, a counter that was counted elsewhere and a histogram, with help texts and the version.
    #[test]
    fn prometheus_sees_what_was_recorded() {
        let text = rendered(|| {
            CALLS_ACTIVE.set([], 3.0);
            SIP_MALFORMED.total([], 7);
            CALL_SETUP.record([], Duration::from_millis(15));
        });
        for line in [
            "# HELP tollgate_calls_active Calls from their INVITE to their end",
            "# TYPE tollgate_call_setup_seconds histogram",
            "tollgate_calls_active 3",
            "tollgate_sip_malformed_total 7",
            r#"tollgate_call_setup_seconds_bucket{le="0.01"} 0"#,
            r#"tollgate_call_setup_seconds_bucket{le="0.02"} 1"#,
            concat!(
                "tollgate_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "{line} is not in\n{text}"
            );
        }
    }

    /// Two exporters of one process answer over HTTP; a taken port is told with its address.
    #[tokio::test]
    async fn they_are_served_over_http() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (one, two) = (serve(any).await.unwrap(), serve(any).await.unwrap());
        for exporter in [&one, &two] {
            let answer = reqwest::get(format!("http://{}/metrics", exporter.address()))
                .await
                .unwrap();
            assert!(answer.text().await.unwrap().contains("tollgate_build_info"));
        }
        let error = serve(one.address()).await.unwrap_err().to_string();
        assert!(error.contains(&one.address().to_string()), "{error}");
    }
}
