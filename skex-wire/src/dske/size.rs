//! How many elements a key of a given length takes.

use super::{ELEMENT_LEN, MAX_DSKE_KEY_LEN, MIN_DSKE_KEY_LEN};

#[expect(clippy::cast_possible_truncation, reason = "16")]
const ELEMENT: u32 = ELEMENT_LEN as u32;

/// Elements of a share of a key of `key_len` octets: three of the secret tag's key, the key itself, padded, and two of
/// the confirm key. `None` where the length is outside its limits (16 octets to 1 MiB).
#[must_use]
pub const fn share_elements(key_len: u32) -> Option<u32> {
    if key_len < MIN_DSKE_KEY_LEN || key_len > MAX_DSKE_KEY_LEN {
        return None;
    }
    key_len.div_ceil(ELEMENT).checked_add(5)
}

/// Elements that one upload or delivery takes from a table: two of the answer key, two of the message tag's key, and the
/// pad of the share. `None` where the length is outside its limits (16 octets to 1 MiB).
#[must_use]
pub const fn block_elements(key_len: u32) -> Option<u32> {
    match share_elements(key_len) {
        Some(share) => share.checked_add(4),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_usual_keys() {
        for (key_len, share) in [(16, 6), (17, 7), (32, 7), (64, 9), (1 << 20, 65_541)] {
            assert_eq!(share_elements(key_len), Some(share));
            assert_eq!(block_elements(key_len), Some(share + 4));
        }
    }

    #[test]
    fn lengths_outside_the_limits_have_no_size() {
        for key_len in [0, 1, 15, (1 << 20) + 1, u32::MAX] {
            assert_eq!(share_elements(key_len), None);
            assert_eq!(block_elements(key_len), None);
        }
    }
}
