//! Medians and percentiles.

/// Returns the `percent`th percentile of `values` by nearest rank; `None` when there are none.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank.min(last)).copied()
}

/// Returns the median.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), Some(3.0));
        assert_eq!(percentile(&values, 99), Some(5.0));
        assert_eq!(percentile(&values, 0), Some(1.0));
        assert_eq!(percentile(&[7.0], 50), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
