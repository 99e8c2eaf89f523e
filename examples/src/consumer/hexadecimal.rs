//! Keys as text, for consumers that read them so.

use zeroize::Zeroizing;

/// Hex digits, lower case. Each is computed, not looked up: the octets are secret.
pub(super) fn hexadecimal(octets: &[u8]) -> Zeroizing<String> {
    // Of the full size from the beginning: what grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(octets.len().saturating_mul(2)));
    for octet in octets {
        text.push(digit(octet >> 4));
        text.push(digit(octet & 15));
    }
    text
}

fn digit(value: u8) -> char {
    // All ones from ten on.
    let letter = (9_u8.wrapping_sub(value) >> 7).wrapping_neg();
    char::from(b'0'.wrapping_add(value).wrapping_add(letter & (b'a' - b'0' - 10)))
}

#[cfg(test)]
mod tests {
    use super::hexadecimal;

    #[test]
    fn every_octet_has_its_two_digits() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(*hexadecimal(&all), hex::encode(&all));
    }
}
