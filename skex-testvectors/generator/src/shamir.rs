//! shamir.json

use serde_json::{Value, json};
use skex_testvectors::Layer;
use skex_testvectors::shamir::TestGroup;

use crate::field::{interpolate, quotient_8, secret_tag, weight};
use crate::file::{File, Group, hex};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "shamir",
        "Threshold sharing over GF(2^8)",
        "draft-skex-dske-00",
        &[],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("SpecificationExample", "BASIC", "An example that the specification prints."),
            ("AllNeeded", "EDGE_CASE", "Threshold and number of shares are equal."),
            ("MoreThanNeeded", "EDGE_CASE", "Shares beyond the threshold, which are not looked at."),
            ("Threshold", "MISSING_CHECK", "A threshold below 2 or above the number of shares."),
            ("ZeroCoordinate", "MISSING_CHECK", "A share at zero, the place of the secret."),
            ("DuplicateCoordinate", "MISSING_CHECK", "Two shares at one coordinate."),
            ("TooFew", "MISSING_CHECK", "Fewer shares than the threshold."),
            ("Count", "MISSING_CHECK", "Another number of direct shares than one less than the threshold."),
            ("UnequalLengths", "MISSING_CHECK", "Blocks of different lengths."),
            ("EmptyBlock", "MISSING_CHECK", "Blocks of no octets."),
            ("Honest", "BASIC", "All shares are right."),
            (
                "Named",
                "ROBUSTNESS",
                "The first shares are right and give the secret; a later one is wrong and has to be named.",
            ),
            ("Located", "ROBUSTNESS", "Wrong shares, at most half of the surplus: they are located."),
            (
                "Searched",
                "ROBUSTNESS",
                "More wrong shares than half of the surplus: subsets have to be tried.",
            ),
            (
                "LiarsAgree",
                "ROBUSTNESS",
                "Two liars whose errors cancel at zero: the first shares give the right secret although two of them are wrong, and honest hubs must not be blamed.",
            ),
            ("TooManyLiars", "AUTHENTICATION", "No subset of the shares has a right tag."),
            ("WorkLimit", "ROBUSTNESS", "A right subset exists, and no subset may be tried."),
        ],
    );
    file.group("Split", "split", json!({}), split);
    file.group("Combine", "combine", json!({}), combine);
    file.group("Decode", "decode", json!({}), decode);
    file.finish::<TestGroup>()
}

/// All shares of `secret`, of which the first ones are given.
fn shares(coordinates: &[u8], secret: &[u8], direct: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut points: Vec<(u8, &[u8])> = vec![(0, secret)];
    points.extend(coordinates.iter().copied().zip(direct.iter().map(Vec::as_slice)));
    coordinates.iter().map(|&x| interpolate(&points, x)).collect()
}

fn split(group: &mut Group) {
    let mut case = group.case("example", "printed in the specification, \"Sharing\"");
    case.set("threshold", 3).set("coordinates", [1, 2, 3, 4, 5].as_slice()).hex("secret", &[0x2a]);
    let direct = [vec![0x37], vec![0xc4]];
    case.hexes("direct", &direct).hexes("following", &shares(&[1, 2, 3, 4, 5], &[0x2a], &direct)[2..]);
    case.valid(&["SpecificationExample"]);

    let all: Vec<u8> = (1..=31).collect();
    let upper: Vec<u8> = (225..=255).collect();
    for (name, threshold, coordinates, length, flag) in [
        ("2 of 2", 2, &[1, 2][..], 96, "AllNeeded"),
        ("2 of 3", 2, &[1, 5, 9], 112, "Normal"),
        ("3 of 5", 3, &[1, 2, 3, 4, 5], 112, "Normal"),
        ("3 of 5, not in order", 3, &[200, 3, 255, 1, 77], 33, "Normal"),
        ("5 of 5", 5, &[1, 2, 3, 4, 5], 16, "AllNeeded"),
        ("7 of 13", 7, &all[..13], 48, "Normal"),
        ("16 of 31", 16, &all, 96, "Normal"),
        ("16 of 31, the highest coordinates", 16, &upper, 17, "Normal"),
    ] {
        let mut case = group.case(name, "shares made of a secret and of direct shares");
        case.set("threshold", threshold).set("coordinates", coordinates);
        let secret = case.secret("secret", length);
        let direct = case.secrets("direct", threshold - 1, length);
        case.hexes("following", &shares(coordinates, &secret, &direct)[threshold - 1..]);
        case.valid(&[flag]);
    }
    for (name, threshold, coordinates, secret, direct, flag) in [
        ("threshold 1", 1, &[1, 2, 3][..], 16, &[][..], "Threshold"),
        ("threshold above the number", 4, &[1, 2, 3], 16, &[16, 16, 16], "Threshold"),
        ("coordinate zero", 2, &[1, 0, 3], 16, &[16], "ZeroCoordinate"),
        ("coordinate twice", 2, &[1, 3, 3], 16, &[16], "DuplicateCoordinate"),
        ("a direct share too few", 3, &[1, 2, 3], 16, &[16], "Count"),
        ("a direct share too many", 2, &[1, 2, 3], 16, &[16, 16], "Count"),
        ("a direct share too short", 3, &[1, 2, 3], 16, &[16, 15], "UnequalLengths"),
        ("nothing to share", 2, &[1, 2, 3], 0, &[0], "EmptyBlock"),
    ] {
        let mut case = group.case(name, "refused before anything is computed");
        case.set("threshold", threshold).set("coordinates", coordinates);
        case.secret("secret", secret);
        let lengths: &[usize] = direct;
        let blocks: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(i, &length)| case.derive(&format!("direct[{i}]"), length))
            .collect();
        case.hexes("direct", &blocks).set("following", Value::Null);
        case.invalid(Layer::Argument, flag);
    }
}

fn with_coordinates(coordinates: &[u8], shares: &[Vec<u8>]) -> Value {
    coordinates.iter().zip(shares).map(|(x, share)| json!({ "coordinate": x, "share": hex(share) })).collect()
}

fn combine(group: &mut Group) {
    for (name, threshold, coordinates, length, flag) in [
        ("2 of 2", 2, &[1, 2][..], 16, "Normal"),
        ("3 shares, not in order", 3, &[9, 1, 5], 112, "Normal"),
        ("two shares more than needed", 3, &[2, 9, 1, 5, 77], 33, "MoreThanNeeded"),
        ("7 shares", 7, &[255, 254, 3, 2, 1, 99, 100], 48, "Normal"),
    ] {
        let mut case = group.case(name, "the shares are any octets: every value has a secret");
        case.set("threshold", threshold);
        let blocks: Vec<Vec<u8>> =
            (0..coordinates.len()).map(|i| case.derive(&format!("shares[{i}].share"), length)).collect();
        let points: Vec<(u8, &[u8])> =
            coordinates.iter().copied().zip(blocks.iter().map(Vec::as_slice)).take(threshold).collect();
        case.set("shares", with_coordinates(coordinates, &blocks)).hex("secret", &interpolate(&points, 0));
        case.valid(&[flag]);
    }
    for (name, threshold, coordinates, lengths, flag) in [
        ("threshold 1", 1, &[1, 2][..], &[16, 16][..], "Threshold"),
        ("a share too few", 3, &[1, 2], &[16, 16], "TooFew"),
        ("no share", 2, &[], &[], "TooFew"),
        ("coordinate zero", 2, &[0, 2], &[16, 16], "ZeroCoordinate"),
        ("coordinate twice", 2, &[7, 7], &[16, 16], "DuplicateCoordinate"),
        ("a share too short", 2, &[1, 2], &[16, 15], "UnequalLengths"),
        ("shares of nothing", 2, &[1, 2], &[0, 0], "EmptyBlock"),
    ] {
        let mut case = group.case(name, "refused before anything is computed");
        case.set("threshold", threshold);
        let lengths: &[usize] = lengths;
        let blocks: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(i, &length)| case.derive(&format!("shares[{i}].share"), length))
            .collect();
        case.set("shares", with_coordinates(coordinates, &blocks)).set("secret", Value::Null);
        case.invalid(Layer::Argument, flag);
    }
}

struct Decoding<'a> {
    name: &'a str,
    threshold: usize,
    coordinates: &'a [u8],
    /// Positions among the coordinates.
    liars: &'a [usize],
    work_limit: u64,
    flag: &'a str,
}

fn decode(group: &mut Group) {
    let all: Vec<u8> = (1..=31).collect();
    let five = &all[..5];
    let test = |name, threshold, coordinates, liars, flag| Decoding {
        name,
        threshold,
        coordinates,
        liars,
        work_limit: 200_000,
        flag,
    };
    for decoding in [
        test("2 of 3, all right", 2, &[1, 5, 9], &[], "Honest"),
        test("3 of 5, all right", 3, five, &[], "Honest"),
        test("3 of 5, three came", 3, &[4, 2, 5], &[], "Honest"),
        test("3 of 5, the first lies", 3, five, &[0], "Located"),
        test("3 of 5, the last lies", 3, five, &[4], "Named"),
        test("3 of 5, four came and the first lies", 3, &[5, 1, 2, 3], &[0], "Searched"),
        test("3 of 5, two lie", 3, five, &[0, 2], "Searched"),
        test("4 of 7, one lies", 4, &all[..7], &[1], "Located"),
        test("4 of 7, three lie", 4, &all[..7], &[0, 1, 2], "Searched"),
        test("5 of 9, two lie", 5, &all[..9], &[0, 3], "Located"),
        test("16 of 31, seven lie", 16, &all, &[0, 1, 2, 3, 4, 5, 6], "Located"),
    ] {
        decoded(group, &decoding);
    }
    // With at most half of the surplus wrong, counting the secret as one more share, blame is exact.
    decoded(group, &test("3 of 6, two lie together", 3, &all[..6], &[0, 1], "LiarsAgree"));
    for decoding in [
        test("2 of 3, two lie", 2, &[1, 2, 3], &[0, 1], "TooManyLiars"),
        test("3 of 5, three lie", 3, five, &[0, 1, 2], "TooManyLiars"),
        test("3 of 3, one lies", 3, &[1, 2, 3], &[1], "TooManyLiars"),
        Decoding { work_limit: 0, ..test("3 of 5, two lie, no work", 3, five, &[0, 2], "WorkLimit") },
    ] {
        decoded(group, &decoding);
    }
}

fn decoded(group: &mut Group, decoding: &Decoding<'_>) {
    let &Decoding { name, threshold, coordinates, liars, work_limit, flag } = decoding;
    let mut case = group
        .case(name, "wrong shares differ from the right ones by octets from the seed, or as the flag says");
    let secret = case.derive("secret", 96);
    let context = case.secret("context", 58 + 18 * coordinates.len());
    // Not fields of the test; they follow from the seed by the same rule.
    let direct: Vec<Vec<u8>> = (0..threshold - 1).map(|i| case.derive(&format!("direct[{i}]"), 96)).collect();
    let errors: Vec<Vec<u8>> = (0..liars.len()).map(|i| case.derive(&format!("errors[{i}]"), 96)).collect();
    case.forget_all("direct").forget_all("errors");
    let mut blocks = shares(coordinates, &secret, &direct);
    for (number, &liar) in liars.iter().enumerate() {
        let mut error = errors[number].clone();
        if flag == "LiarsAgree" {
            // Errors that cancel at zero among the first k shares: the first one over the weight here.
            let here = weight(&coordinates[..threshold], coordinates[liar], 0);
            error = errors[0].iter().map(|&octet| quotient_8(octet, here)).collect();
        }
        for (octet, error) in blocks[liar].iter_mut().zip(error) {
            *octet ^= error;
        }
    }
    case.set("threshold", threshold).set("workLimit", work_limit);
    case.hex("secretTag", &secret_tag(&secret[..48], &secret[48..], &context));
    case.set("shares", with_coordinates(coordinates, &blocks));
    if matches!(flag, "TooManyLiars" | "WorkLimit") {
        case.forget("secret").set("secret", Value::Null);
        case.set("culprits", Value::Null).set("blameIsCertain", Value::Null);
        case.invalid(Layer::Authenticate, flag);
    } else {
        let culprits: Vec<u8> = liars.iter().map(|&liar| coordinates[liar]).collect();
        let certain = culprits.is_empty() || culprits.len() + 2 * threshold <= coordinates.len() + 2;
        case.hex("secret", &secret).set("culprits", culprits).set("blameIsCertain", certain);
        case.valid(&[flag]);
    }
}
