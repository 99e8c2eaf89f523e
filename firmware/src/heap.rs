//! A fixed heap, divided among accounts, each with its high-water mark.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap;

/// Who allocates: the image says so before it calls a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The client that asks for keys.
    Initiator = 0,
    /// The client that gets them.
    Responder = 1,
    /// Hubs, messages on their way, and the rest of the image.
    World = 2,
}

/// Octets of the two clients' heaps. More is not there: an allocation that does not fit ends the run.
pub const CLIENT_HEAP: usize = 32 * 1024;

const WORLD_HEAP: usize = 2 * 1024 * 1024;

struct Arena {
    heap: Heap,
    high_water: usize,
}

struct Arenas {
    arenas: [Arena; 3],
    current: usize,
}

struct Accounts(UnsafeCell<Arenas>);

// SAFETY: one core, one thread, and no interrupt handler allocates.
unsafe impl Sync for Accounts {}

// SAFETY: blocks are those of `Heap`, each given back to the arena that it came from, which its address tells.
unsafe impl GlobalAlloc for Accounts {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and no reference outlives a call.
        let arenas = unsafe { &mut *self.0.get() };
        let arena = &mut arenas.arenas[arenas.current];
        let Ok(block) = arena.heap.allocate_first_fit(layout) else { return ptr::null_mut() };
        arena.high_water = arena.high_water.max(arena.heap.used());
        block.as_ptr()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let arenas = unsafe { &mut *self.0.get() };
        let within = |arena: &&mut Arena| (arena.heap.bottom()..arena.heap.top()).contains(&block);
        if let (Some(arena), Some(block)) = (arenas.arenas.iter_mut().find(within), NonNull::new(block)) {
            // SAFETY: the block came from this arena with this layout.
            unsafe { arena.heap.deallocate(block, layout) };
        }
    }
}

const NONE: Arena = Arena { heap: Heap::empty(), high_water: 0 };

#[global_allocator]
static ACCOUNTS: Accounts = Accounts(UnsafeCell::new(Arenas { arenas: [NONE, NONE, NONE], current: 2 }));

/// Gives every account its memory. Call it once, first of all.
pub fn start() {
    static mut CLIENTS: [[u64; CLIENT_HEAP / 8]; 2] = [[0; CLIENT_HEAP / 8]; 2];
    static mut WORLD: [u64; WORLD_HEAP / 8] = [0; WORLD_HEAP / 8];
    // SAFETY: called once, before anything allocates; the memory is used by nothing else.
    unsafe {
        let arenas = &mut *ACCOUNTS.0.get();
        let clients = (&raw mut CLIENTS).cast::<u8>();
        arenas.arenas[0].heap.init(clients, CLIENT_HEAP);
        arenas.arenas[1].heap.init(clients.add(CLIENT_HEAP), CLIENT_HEAP);
        arenas.arenas[2].heap.init((&raw mut WORLD).cast::<u8>(), WORLD_HEAP);
    }
}

/// Runs `work` on behalf of an account.
pub fn on_behalf_of<T>(account: Account, work: impl FnOnce() -> T) -> T {
    let before = switch(account as usize);
    let done = work();
    switch(before);
    done
}

fn switch(to: usize) -> usize {
    // SAFETY: one thread, and no reference outlives the call.
    unsafe { core::mem::replace(&mut (*ACCOUNTS.0.get()).current, to) }
}

/// The most octets that an account ever held.
#[must_use]
pub fn high_water(account: Account) -> usize {
    // SAFETY: as above.
    unsafe { (*ACCOUNTS.0.get()).arenas[account as usize].high_water }
}
