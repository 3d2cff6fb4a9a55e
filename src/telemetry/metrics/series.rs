use metrics::Label;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Combinations of label values that one metric may have; later ones are counted together under `other`.
pub(super) const MOST: usize = 5000;
/// After this long without being set, a gauge disappears and makes room for another.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// Characters of a label's value that are shown.
const LONGEST: usize = 64;

/// A number that only grows. `N` is the number of its labels, whose values each method takes in the table's order.
#[derive(Debug)]
pub struct Counter<const N: usize>(Series<N>);

impl<const N: usize> Counter<N> {
    pub(super) const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
        Self(Series::new(name, labels, false))
    }

    /// Counts so many more.
    pub fn add(&self, values: [&str; N], more: u64) {
        metrics::counter!(self.0.name, self.0.labels(values)).increment(more);
    }

    /// Sets what something else has counted since the start; never lower than before.
    pub fn total(&self, values: [&str; N], total: u64) {
        metrics::counter!(self.0.name, self.0.labels(values)).absolute(total);
    }
}

/// A number that goes up and down. `N` is the number of its labels, whose values each method takes in the table's order.
#[derive(Debug)]
pub struct Gauge<const N: usize>(Series<N>);

impl<const N: usize> Gauge<N> {
    pub(super) const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
        Self(Series::new(name, labels, true))
    }

    /// What it is now.
    pub fn set(&self, values: [&str; N], value: f64) {
        metrics::gauge!(self.0.name, self.0.labels(values)).set(value);
    }
}

/// How often which duration occurred. `N` is the number of its labels, whose values each method takes in the table's order.
#[derive(Debug)]
pub struct Histogram<const N: usize>(Series<N>);

impl<const N: usize> Histogram<N> {
    pub(super) const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
        Self(Series::new(name, labels, false))
    }

    /// One more occurrence.
    pub fn record(&self, values: [&str; N], duration: Duration) {
        metrics::histogram!(self.0.name, self.0.labels(values)).record(duration.as_secs_f64());
    }
}

/// A metric's name and the label values it has had, so that no stranger's input can make their number grow without bound.
#[derive(Debug)]
struct Series<const N: usize> {
    name: &'static str,
    labels: [&'static str; N],
    /// Whether a combination is forgotten after [`IDLE`], as gauges are.
    fades: bool,
    known: Mutex<Option<HashMap<[String; N], Instant>>>,
}

impl<const N: usize> Series<N> {
    const fn new(name: &'static str, labels: [&'static str; N], fades: bool) -> Self {
        Self {
            name,
            labels,
            fades,
            known: Mutex::new(None),
        }
    }

    fn labels(&self, values: [&str; N]) -> Vec<Label> {
        if N == 0 {
            return Vec::new();
        }
        let values = values.map(|value| value.chars().take(LONGEST).collect::<String>());
        let values = if self.admits(&values) {
            values
        } else {
            std::array::from_fn(|_| "other".to_owned())
        };
        self.labels
            .iter()
            .zip(values)
            .map(|(name, value)| Label::new(*name, value))
            .collect()
    }

    fn admits(&self, values: &[String; N]) -> bool {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(last) = known.get_mut(values) {
            *last = now;
            return true;
        }
        if known.len() >= MOST && self.fades {
            known.retain(|_, last| now.duration_since(*last) < IDLE);
        }
        known.len() < MOST && known.insert(values.clone(), now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 5001st trunk is shown as `other`, together with all after it; those before keep their names.
    #[test]
    fn the_number_of_series_is_bounded() {
        static METRIC: Counter<1> = Counter::new("test_total", ["peer"]);
        let text = super::super::recorder::rendered(|| {
            for peer in 0..MOST + 10 {
                METRIC.add([&peer.to_string()], 1);
            }
            METRIC.add(["7"], 1);
            METRIC.add([&"x".repeat(1000)], 1);
        });
        let series: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("test_total"))
            .collect();
        assert_eq!(series.len(), MOST + 1);
        assert!(series.contains(&r#"test_total{peer="other"} 11"#));
        assert!(series.contains(&r#"test_total{peer="7"} 2"#));
    }
}
