//! Variable-length integers for packed columns: small numbers in few bytes (LEB128, signed ones zigzagged).

/// Appends `value`.
pub fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number that may be negative.
pub fn push_signed(out: &mut Vec<u8>, value: i64) {
    push(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Removes a number from the front of `bytes`; `None` when it is truncated or too long.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Removes a number that may be negative from the front of `bytes`.
pub fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes).map(|value| ((value >> 1) as i64) ^ -((value & 1) as i64))
}

/// Packs a list of numbers, each as the difference to the one before.
#[must_use]
pub fn pack_list(numbers: &[i64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * 3);
    let mut last = 0_i64;
    for &number in numbers {
        push_signed(&mut out, number.wrapping_sub(last));
        last = number;
    }
    out
}

/// Reads the result of [`pack_list`].
#[must_use]
pub fn unpack_list(mut bytes: &[u8]) -> Option<Vec<i64>> {
    let mut numbers = Vec::new();
    let mut last = 0_i64;
    while !bytes.is_empty() {
        last = last.wrapping_add(take_signed(&mut bytes)?);
        numbers.push(last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, -1, 63, 64, -65, 300, i64::MAX, i64::MIN, 7];
        assert_eq!(unpack_list(&pack_list(&numbers)).as_deref(), Some(&numbers[..]));
        for number in numbers {
            let mut out = Vec::new();
            push_signed(&mut out, number);
            assert_eq!(take_signed(&mut &out[..]), Some(number));
        }
        assert_eq!(unpack_list(&[0x80]), None);
        assert_eq!(unpack_list(&[0xff; 11]), None);
    }
}
