//! The two fields, bit by bit.

/// A product in GF(2^8) modulo 0x11b.
pub(crate) fn product_8(a: u8, b: u8) -> u8 {
    let mut product = 0_u16;
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (8..16).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11b << (bit - 8);
        }
    }
    product as u8
}

fn inverse_8(a: u8) -> u8 {
    (1..=255).find(|&b| product_8(a, b) == 1).expect("zero has no inverse")
}

/// A quotient in GF(2^8).
pub(crate) fn quotient_8(a: u8, b: u8) -> u8 {
    product_8(a, inverse_8(b))
}

/// The weight of the point `of` among `points` for the value at `at`.
pub(crate) fn weight(points: &[u8], of: u8, at: u8) -> u8 {
    points
        .iter()
        .filter(|&&other| other != of)
        .fold(1, |product, &other| product_8(product, product_8(at ^ other, inverse_8(of ^ other))))
}

/// The block at `at` of the polynomials through `points`.
pub(crate) fn interpolate(points: &[(u8, &[u8])], at: u8) -> Vec<u8> {
    let places: Vec<u8> = points.iter().map(|(place, _)| *place).collect();
    let weights: Vec<u8> = places.iter().map(|&place| weight(&places, place, at)).collect();
    let value = |i| points.iter().zip(&weights).fold(0, |sum, ((_, y), w)| sum ^ product_8(y[i], *w));
    (0..points[0].1.len()).map(value).collect()
}

/// A product in GF(2^128), elements in GCM's encoding (NIST SP 800-38D, algorithm 1).
fn product_128(a: u128, b: u128) -> u128 {
    let (mut product, mut v) = (0, b);
    for bit in (0..128).rev() {
        if a >> bit & 1 == 1 {
            product ^= v;
        }
        v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
    }
    product
}

fn element(octets: &[u8]) -> u128 {
    let mut padded = [0; 16];
    padded[..octets.len()].copy_from_slice(octets);
    u128::from_be_bytes(padded)
}

fn polynomial(c: u128, d: u128, coefficients: &[u128]) -> [u8; 16] {
    let mut power = c;
    let mut sum = d;
    for y in coefficients {
        sum ^= product_128(power, *y);
        power = product_128(power, c);
    }
    sum.to_be_bytes()
}

/// MessageTag of the specification.
pub(crate) fn message_tag(key: &[u8], message: &[u8]) -> [u8; 16] {
    let mut coefficients = vec![message.len() as u128];
    coefficients.extend(message.chunks(16).map(element));
    polynomial(element(&key[..16]), element(&key[16..]), &coefficients)
}

/// SecretTag of the specification.
pub(crate) fn secret_tag(key: &[u8], payload: &[u8], context: &[u8]) -> [u8; 16] {
    let mut coefficients = vec![element(&key[32..]), (payload.len() as u128) << 64 | context.len() as u128];
    coefficients.extend(payload.chunks(16).map(element));
    coefficients.extend(context.chunks(16).map(element));
    polynomial(element(&key[..16]), element(&key[16..32]), &coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        assert_eq!((product_8(0x57, 0x83), product_8(2, 0x80), product_8(0x53, 0xca)), (0xc1, 0x1b, 1));
        assert_eq!(product_128(1 << 126, 1), 0xe1 << 120);
        assert_eq!(product_128(1 << 126, 1 << 126), 1 << 125);
        let points: [(u8, &[u8]); 3] = [(0, &[0x2a]), (1, &[0x37]), (2, &[0xc4])];
        assert_eq!([3, 4, 5].map(|x| interpolate(&points, x)[0]), [0xd9, 0x90, 0x8d]);
        let key: Vec<u8> = (0..48).collect();
        assert_eq!(
            message_tag(&key[..32], b"abc"),
            0xe0da_ec28_0ddb_4acb_ad6f_70a4_dac6_6dd6_u128.to_be_bytes()
        );
        let (payload, context): (Vec<u8>, Vec<u8>) = ((0x40..0x70).collect(), (0x80..0x94).collect());
        let tag = 0xf6a2_9167_d3d5_8157_15ef_6bdf_a830_5b40_u128.to_be_bytes();
        assert_eq!(secret_tag(&key, &payload, &context), tag);
    }
}
