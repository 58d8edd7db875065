//! "Did you mean": the known name that is most similar to an unknown one.

/// Returns the name in `known` nearest to `name` by edit distance, if it is near enough. Names with different digits
/// never are: two MSCs have nothing in common.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer names are no typing mistakes, and would cost time.
    if name.len() > 100 {
        return None;
    }
    let allowed = (name.len() / 3).clamp(1, 6);
    known
        .filter(|candidate| digits(candidate).eq(digits(name)))
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn digits(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(u8::is_ascii_digit)
}

/// Returns the Levenshtein distance over bytes; `-` and `_` are equal.
fn distance(a: &str, b: &str) -> usize {
    let same = |x: u8, y: u8| x == y || (x == b'-' && y == b'_') || (x == b'_' && y == b'-');
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!same(x, y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_name_and_nonsense_finds_none() {
        let known = ["server_name", "listeners", "report_stats", "database", "msc3026_enabled"];
        let cases = [
            ("servername", Some("server_name")),
            ("server-name", Some("server_name")),
            ("listner", Some("listeners")),
            ("reportstats", Some("report_stats")),
            ("msc3026_enabeld", Some("msc3026_enabled")),
            ("msc3266_enabled", None),
            ("quux", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
    }
}
