//! The provisioning file: what a link needs, from one end to the other, and portions of it
//! (docs/draft-skex-dske.md, "Provisioning file").
//!
//! Nothing here touches storage. A header is small and read at once ([`Provision::decode`]); the pads follow in
//! [chunks](Provision::chunks) of at most 64 KiB, each with a tag of its own, so that a table of many GiB is never whole
//! in memory. Whoever cuts a portion copies chunks as they are: that takes no key.

mod header;
mod key;

use alloc::vec::Vec;

use skex_core::{SecretBytes, SecretVec, Suite};
use skex_wire::SuiteId;
use skex_wire::dske::Direction;

pub use key::ProvisionKey;

use crate::id::{ClientId, ClientTag, HubId};
use crate::key::Origin;
use crate::psrd::ELEMENT_LEN;
use crate::share::Coordinate;

/// Elements of a chunk, except for the last one of a table: 64 KiB. Portions begin and end between chunks.
pub const PROVISION_CHUNK_ELEMENTS: u32 = 4096;

/// Octets of the tag behind each chunk.
pub const PROVISION_TAG_LEN: usize = 16;

/// Parts of tables that one file can carry.
pub const MAX_PROVISION_PARTS: usize = 1024;

/// Octets of the longest header: [`Provision::decode`] needs no more of a file.
pub const MAX_PROVISION_HEADER_LEN: usize = header::len(true, MAX_PROVISION_PARTS);

/// Which link a file is for: what both ends agree on besides the key and the pads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the identity of a link has these parts (draft, \"Names\")")]
pub struct LinkIdentity {
    /// The hub.
    pub hub: HubId,
    /// The hub's coordinate, the same in everybody's roster.
    pub coordinate: Coordinate,
    /// The client's tag, the same at every hub.
    pub tag: ClientTag,
    /// How this hub calls the client.
    pub client: ClientId,
    /// The suite of the envelope.
    pub suite: SuiteId,
}

/// A table, or a range of one, as a file carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by the embedder, who has to think about every field")]
pub struct TablePart {
    /// Which way the table serves.
    pub direction: Direction,
    /// Its number within the link and direction.
    pub number: u16,
    /// How it comes to the client: for a file, out of band.
    pub origin: Origin,
    /// Elements of the whole table.
    pub elements: u32,
    /// The first element that is here: a multiple of [`PROVISION_CHUNK_ELEMENTS`].
    pub first: u32,
    /// The element behind the last one that is here: such a multiple, or the end of the table.
    pub end: u32,
}

impl TablePart {
    /// The whole table.
    #[must_use]
    pub const fn whole(direction: Direction, number: u16, origin: Origin, elements: u32) -> Self {
        Self { direction, number, origin, elements, first: 0, end: elements }
    }

    const fn is_valid(&self) -> bool {
        let known = matches!(self.direction, Direction::UPLINK | Direction::DOWNLINK);
        let begins = self.first.is_multiple_of(PROVISION_CHUNK_ELEMENTS);
        let ends = self.end == self.elements || self.end.is_multiple_of(PROVISION_CHUNK_ELEMENTS);
        known && begins && ends && self.first < self.end && self.end <= self.elements
    }

    /// Octets that the part takes in a file, tags included.
    fn len(&self) -> u64 {
        let elements = self.end.saturating_sub(self.first);
        let chunks = u64::from(elements.div_ceil(PROVISION_CHUNK_ELEMENTS));
        octets(elements).saturating_add(chunks.saturating_mul(PROVISION_TAG_LEN as u64))
    }
}

/// Octets of so many elements.
fn octets(elements: u32) -> u64 {
    u64::from(elements).saturating_mul(ELEMENT_LEN as u64)
}

/// What a provisioning file says before its pads. It holds a key: the file is secret in whole.
#[derive(Debug)]
#[non_exhaustive]
pub struct Provision {
    /// Which link it is for.
    pub link: LinkIdentity,
    /// The initial key of the envelope, 32 octets: there when the file enrols, absent when it only brings more pads.
    pub initial_key: Option<SecretBytes<32>>,
    /// What tables it carries, in ascending order of direction and number.
    pub parts: Vec<TablePart>,
}

/// A chunk's place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// The part that it belongs to.
    pub part: TablePart,
    /// Its first element, in the table.
    pub first: u32,
    /// Its elements: [`PROVISION_CHUNK_ELEMENTS`], fewer at the end of a table.
    pub elements: u32,
    /// Where its octets begin in the file. Its tag stands behind them.
    pub offset: u64,
}

impl Chunk {
    /// Octets of its pad, without the tag.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub const fn len(&self) -> usize {
        // At most 64 KiB.
        (self.elements as usize).saturating_mul(ELEMENT_LEN)
    }
}

impl Provision {
    /// A file for `link` with these parts. With `initial_key` it enrols; a file without it is for a link that exists.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Content`] unless the parts are in ascending order of direction and number, at most
    /// [`MAX_PROVISION_PARTS`], each inside its table and between chunks, and the file is not without key and parts;
    /// [`ProvisionError::Suite`].
    pub fn new(
        link: LinkIdentity,
        initial_key: Option<SecretBytes<32>>,
        parts: Vec<TablePart>,
    ) -> Result<Self, ProvisionError> {
        let order = |part: &TablePart| (part.direction.value(), part.number);
        let ascending = parts.is_sorted_by(|left, right| order(left) < order(right));
        let empty = initial_key.is_none() && parts.is_empty();
        if empty || !ascending || parts.len() > MAX_PROVISION_PARTS || !parts.iter().all(TablePart::is_valid)
        {
            return Err(ProvisionError::Content);
        }
        Suite::from_id(link.suite).ok_or(ProvisionError::Suite)?;
        Ok(Self { link, initial_key, parts })
    }

    /// Reads the header, and gives its length. `octets` are the beginning of the file: all of it or at least
    /// [`MAX_PROVISION_HEADER_LEN`] octets.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`] says whether this is no such file, a newer one, a torn or a damaged one.
    pub fn decode(octets: &[u8]) -> Result<(Self, usize), ProvisionError> {
        header::decode(octets)
    }

    /// The header as it stands in the file.
    #[must_use]
    pub fn encode(&self) -> SecretVec {
        header::encode(self)
    }

    /// Octets of the header.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        header::len(self.initial_key.is_some(), self.parts.len())
    }

    /// Octets of the whole file. One that is shorter is torn, one that is longer holds what does not belong there.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.parts.iter().map(TablePart::len).fold(self.header_len() as u64, u64::saturating_add)
    }

    /// Makes sure that the file has the length that its header says.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Torn`], [`ProvisionError::TooLong`].
    pub fn check_len(&self, actual: u64) -> Result<(), ProvisionError> {
        match actual.cmp(&self.file_len()) {
            core::cmp::Ordering::Less => Err(ProvisionError::Torn),
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => Err(ProvisionError::TooLong),
        }
    }

    /// The chunks, in the order in which they follow the header.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        let mut offset = self.header_len() as u64;
        self.parts.iter().flat_map(move |&part| {
            let begin = offset;
            offset = offset.saturating_add(part.len());
            part_chunks(part, begin)
        })
    }

    /// The header of a portion: of every table the chunks that lie between the elements `from` and `to`, both multiples of
    /// [`PROVISION_CHUNK_ELEMENTS`]; with the initial key, if this file has it and `enrol`. Its chunks and their tags are
    /// those of this file, as they are.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Content`] if `from` or `to` lies inside a chunk, or if nothing of any table lies between them.
    pub fn portion(&self, from: u32, to: u32, enrol: bool) -> Result<Self, ProvisionError> {
        let within = |part: &TablePart| {
            let (first, end) = (part.first.max(from), part.end.min(to));
            (first < end).then_some(TablePart { first, end, ..*part })
        };
        let parts: Vec<TablePart> = self.parts.iter().filter_map(within).collect();
        if parts.is_empty() {
            return Err(ProvisionError::Content);
        }
        let key = self.initial_key.as_ref().filter(|_| enrol);
        Self::new(self.link, key.map(|key| SecretBytes::copied_from(key.expose())), parts)
    }
}

fn part_chunks(part: TablePart, begin: u64) -> impl Iterator<Item = Chunk> {
    let step = octets(PROVISION_CHUNK_ELEMENTS).saturating_add(PROVISION_TAG_LEN as u64);
    let firsts = (part.first..part.end).step_by(PROVISION_CHUNK_ELEMENTS as usize);
    (0_u64..).zip(firsts).map(move |(i, first)| {
        let elements = part.end.saturating_sub(first).min(PROVISION_CHUNK_ELEMENTS);
        Chunk { part, first, elements, offset: begin.saturating_add(i.saturating_mul(step)) }
    })
}

/// A provisioning file cannot be used. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// It does not begin as one.
    #[error("not a provisioning file")]
    NotProvisioning,
    /// It is of a format that is not known here.
    #[error("the provisioning file has format {0}, which is not known here: use newer software")]
    Version(u8),
    /// It ends too early.
    #[error("the provisioning file is torn: it is shorter than its header says; fetch it again")]
    Torn,
    /// It goes on behind its end.
    #[error("the provisioning file is longer than its header says; fetch it again")]
    TooLong,
    /// The header was damaged.
    #[error("the header of the provisioning file is damaged; fetch the file again")]
    Damaged,
    /// The header is whole and makes no sense: parts out of order, outside their table, or not between chunks.
    #[error(
        "the provisioning file describes tables that cannot be: out of order, empty or not cut between chunks"
    )]
    Content,
    /// The envelope's suite is unknown or not compiled in.
    #[error("the suite of the link's envelope is unknown or not compiled in")]
    Suite,
    /// A chunk is not what was written under the link's key: damaged, altered, of another link, or in another's place.
    #[error(
        "the pads of table {number} from element {first} on are damaged, altered, or of another link or enrolment; \
         fetch the file again, from where it was made"
    )]
    Chunk {
        /// Number of the table.
        number: u16,
        /// First element of the chunk.
        first: u32,
    },
}
