//! A table that makes its hub a liar, without any hook in the library.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use skex_dske::{Pad, PadError};

use crate::store::FilePad;

/// A table whose long reads come back with bits turned, once `lies` is set. Which bits is chance: hubs that all turned the same
/// one would conspire, and their errors cancel now and then, which makes honest hubs look wrong.
///
/// Keys of tags are read 32 octets at a time and stay right; what masks a share is longer. So the hub's messages
/// are authentic, and the shares in them are wrong.
#[derive(Debug)]
pub(crate) struct LyingPad {
    pad: FilePad,
    lies: Option<Arc<AtomicBool>>,
}

const TAG_KEY_LEN: usize = 32;

impl LyingPad {
    pub(crate) const fn new(pad: FilePad, lies: Arc<AtomicBool>) -> Self {
        Self { pad, lies: Some(lies) }
    }

    pub(crate) const fn honest(pad: FilePad) -> Self {
        Self { pad, lies: None }
    }
}

impl Pad for LyingPad {
    fn elements(&self) -> u32 {
        self.pad.elements()
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        self.pad.read(index, out)?;
        let lies = self.lies.as_ref().is_some_and(|lies| lies.load(Ordering::Relaxed));
        if lies && out.len() > TAG_KEY_LEN {
            let mut turned = vec![0; out.len()];
            getrandom::fill(&mut turned).map_err(|_| PadError::Storage)?;
            out.iter_mut().zip(turned).for_each(|(octet, bits)| *octet ^= bits);
        }
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        self.pad.erase(index, elements)
    }
}
