//! Decoding among liars against every subset, tried one by one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_dske::{Coordinate, Splitter, combine, decode};
use skex_fuzz::Input;

fuzz_target!(|octets: &[u8]| {
    let _ = play(Input::new(octets));
});

/// n hubs, threshold k, wrong shares where the octets say so.
fn play(mut input: Input<'_>) -> Option<()> {
    let n = 2 + input.below(8)?;
    let k = 2 + input.below(n - 1)?;
    let length = 1 + input.below(3)?;
    let mut coordinates: Vec<u8> = (0..n).map(|_| input.octet()).collect::<Option<_>>()?;
    coordinates.sort_unstable();
    coordinates.dedup();
    coordinates.retain(|x| *x != 0);
    let places: Vec<Coordinate> = coordinates.iter().filter_map(|x| Coordinate::new(*x)).collect();
    let threshold = u8::try_from(k).ok()?;
    let Ok(splitter) = Splitter::new(threshold, &places) else {
        assert!(places.len() < k, "a sharing that is possible was refused");
        return None;
    };
    let block = |input: &mut Input<'_>| (0..length).map(|_| input.octet()).collect::<Option<Vec<u8>>>();
    let secret = block(&mut input)?;
    let direct: Vec<Vec<u8>> = (0..splitter.direct()).map(|_| block(&mut input)).collect::<Option<_>>()?;
    let mut following = vec![vec![0; length]; splitter.following()];
    splitter
        .split(
            &secret,
            &direct.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            &mut following.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )
        .unwrap();
    let mut shares: Vec<Vec<u8>> = direct.into_iter().chain(following).collect();
    let right = shares.clone();
    let mut lies = input;
    while let Some(which) = lies.octet() {
        let Some(change) = lies.octet() else { break };
        let len = shares.len();
        shares[usize::from(which) % len][usize::from(which >> 4) % length] ^= change;
    }
    let given: Vec<(Coordinate, &[u8])> =
        places.iter().copied().zip(shares.iter().map(Vec::as_slice)).collect();
    let wrong: Vec<Coordinate> =
        (0..shares.len()).filter(|at| shares[*at] != right[*at]).map(|at| places[at]).collect();

    // By brute force: is there a subset of k shares that gives the secret?
    let mut possible = false;
    for chosen in 0_u16..1 << given.len() {
        if chosen.count_ones() as usize != k {
            continue;
        }
        let subset: Vec<(Coordinate, &[u8])> = given
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen >> at & 1 == 1)
            .map(|(_, share)| *share)
            .collect();
        let mut found = vec![0; length];
        combine(threshold, &subset, &mut found).unwrap();
        possible |= found == secret;
    }
    // The right secret is always told from a wrong one here, as it is by the secret tag.
    let decoded = decode(threshold, &given, 1 << 16, |candidate| candidate == secret);
    match decoded {
        Ok(decoded) => {
            assert_eq!(decoded.secret().expose(), secret);
            if decoded.blame_is_certain() && wrong.len() < k {
                assert!(decoded.culprits().iter().all(|culprit| wrong.contains(culprit)));
            }
            if wrong.len() * 2 + k <= given.len() {
                assert_eq!(decoded.culprits(), wrong, "few liars are named, all of them and nobody else");
            }
        }
        Err(error) => {
            let promised = wrong.len() <= given.len() - k && wrong.len() < k;
            assert!(!promised, "{} liars of {} and threshold {k}: {error}", wrong.len(), given.len());
            assert!(!possible || given.len() == k, "brute force finds what decoding does not: {error}");
        }
    }
    Some(())
}
