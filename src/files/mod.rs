//! Files that operators name, safe against TOCTOU races and symlink attacks: read with care, because a less
//! privileged user may own the folder, and changed so that they are whole at every moment, for a power cut and for
//! every process that follows them. What is in them, and who may read them, is left to the modules that own them.
//!
//! Root's commands change files of the service's user, who can rename and link in his folder between any two of their
//! calls. So a changer looks a folder up once, and everything else happens in that open folder, by plain names,
//! without following links ([`Place`]).

mod lock;
mod place;
mod read;
mod trust;

pub use place::{Aside, Place, create};
pub use read::{Readers, Unread, open, read, read_text};
pub use trust::{Untrusted, rewritable, shared, trust, trust_filled, trust_found};
