//! A socket whose bytes are handed out one request at a time. A client may send requests ahead of its responses; they
//! wait here and in the kernel, as bytes, until the response before is written. The HTTP library would make requests of
//! all of them at once, at some kilobytes each.

use super::conn::{Phase, Reason, Told};
use super::crowd::Place;
use super::opening;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The last words to a client whose request does not end (RFC 9110 section 15.5.9), or is too large (RFC 6585
/// section 5).
const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

pub(super) struct Stream<T> {
    io: T,
    place: Place,
    peer: Option<IpAddr>,
    /// There is no TLS around it.
    plain: bool,
    /// The first bytes are another protocol's.
    foreign: Option<Reason>,
    /// What was read and not handed out, from here on.
    held: (Vec<u8>, usize),
    line: Line,
    /// A head was handed out; nothing more before the library has looked at it.
    pause: bool,
    /// Reading was refused; who wants to read has to be woken when it is not any more.
    refused: bool,
    /// The last words were said.
    spoken: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream<T> {
    pub(super) fn new(io: T, place: Place, peer: Option<IpAddr>, plain: bool) -> Self {
        let (held, line) = ((Vec::new(), 0), Line::Within);
        Self { io, place, peer, plain, foreign: None, held, line, pause: false, refused: false, spoken: false }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Reads, and keeps back what comes after the end of a head or of a body. How many bytes there are.
    fn fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        let (held, at) = &mut self.held;
        let rest = held.get(*at..).unwrap_or_default();
        let fresh = rest.is_empty();
        if fresh {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        } else {
            buf.put_slice(rest.get(..buf.remaining()).unwrap_or(rest));
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        if self.place.phase() == Phase::Opened && self.plain {
            self.foreign = opening::foreign_to_http(new);
        }
        let some = match self.place.body_left() {
            Some(left) => left.min(new.len()),
            None => {
                let end = self.line.end(new);
                self.pause = end.is_some();
                end.unwrap_or(new.len())
            }
        };
        if fresh {
            self.held = (new.get(some..).unwrap_or_default().to_vec(), 0);
        } else {
            *at += some;
            if *at == held.len() {
                self.held = (Vec::new(), 0);
            }
        }
        buf.set_filled(before + some);
        Poll::Ready(Ok(some))
    }

    /// Has its task woken when more comes; at once where some is here already. Most clients send nothing ahead, so that
    /// one turn of the task serves a whole request.
    fn wake_for_more(&mut self, cx: &mut Context<'_>) {
        let (held, _) = &mut self.held;
        let mut byte = [0; 1];
        let mut ahead = ReadBuf::new(&mut byte);
        if !held.is_empty() || Pin::new(&mut self.io).poll_read(cx, &mut ahead).is_ready() {
            held.extend_from_slice(ahead.filled());
            cx.waker().wake_by_ref();
        }
    }

    /// Reads no more of what cannot be read.
    fn refuse(&mut self, cx: &mut Context<'_>, reason: Reason, words: &[u8]) {
        if self.place.end() {
            self.place.count(reason);
        }
        self.speak(cx, words);
        self.place.cut_off();
    }

    /// Tells the client why, if nothing else is being told to it.
    fn speak(&mut self, cx: &mut Context<'_>, words: &[u8]) {
        if self.place.phase() == Phase::Head && !self.spoken {
            self.spoken = true;
            // Best effort: who takes nothing gets nothing.
            let _ = Pin::new(&mut self.io).poll_write(cx, words);
        }
    }

    /// Writes in some way, notes whether that is taken, and lets a reader in that had to wait until `all` is written.
    fn write<R>(
        &mut self,
        cx: &mut Context<'_>,
        all: bool,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if self.place.told(cx) == Told::Gone {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let poll = write(Pin::new(&mut self.io), cx);
        if poll.is_pending() {
            self.place.blocked();
        } else if all {
            self.place.flushed();
            if self.refused && self.place.phase().reads() {
                self.refused = false;
                cx.waker().wake_by_ref();
            }
        }
        poll
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.place.told(cx) {
            Told::Nothing => {}
            Told::ReadNoMore => {
                this.speak(cx, TIMEOUT);
                this.place.cut_off();
                return Poll::Ready(Ok(()));
            }
            Told::Gone => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
        if std::mem::take(&mut this.pause) {
            this.wake_for_more(cx);
            return Poll::Pending;
        }
        if !this.place.phase().reads() {
            this.refused = true;
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = ready!(this.fill(cx, buf))?;
        if read > 0 && !this.place.took(read) {
            this.refuse(cx, Reason::TooLarge, TOO_LARGE);
            buf.set_filled(before);
        } else if let Some(reason) = this.foreign.take() {
            opening::tell(reason, this.peer);
            this.refuse(cx, reason, BAD_REQUEST);
            buf.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, false, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(cx, true, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(cx, true, |io, cx| io.poll_shutdown(cx))
    }
}

/// Where in a line the bytes that were looked at end. A bare line feed ends a line too: the library takes it for one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Within,
    Begun,
    /// It has a carriage return and nothing else.
    Returned,
}

impl Line {
    /// After more bytes, none of which is a line feed.
    fn then(self, bytes: &[u8]) -> Self {
        match (self, bytes) {
            (before, []) => before,
            (Self::Begun, b"\r") => Self::Returned,
            _ => Self::Within,
        }
    }

    /// Where the first empty line ends, which may have begun before.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let is_empty = self.then(&bytes[begin..end]) != Self::Within;
            begin = end + 1;
            *self = if is_empty { Self::Within } else { Self::Begun };
            if is_empty {
                return Some(begin);
            }
        }
        *self = self.then(&bytes[begin..]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_the_first_empty_line_however_it_is_cut() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\nGET", 27),
            ("GET / HTTP/1.1\nhost: x\n\nGET", 24),
            ("GET / HTTP/1.1\r\n\nGET", 17),
            ("\r\n\r\nGET", 4),
            ("a\r\n\r\r\nb\n\r\n", 10),
        ] {
            for cut in 0..end {
                let mut line = Line::default();
                let (before, after) = text.as_bytes().split_at(cut);
                assert_eq!(line.end(before), None, "{text:?} at {cut}");
                assert_eq!(line.end(after), Some(end - cut), "{text:?} at {cut}");
            }
        }
        assert_eq!(Line::default().end(b"\r\nGET / HTTP/1.1\r\nhost: x\r\nx: \r\r\n"), None);
    }
}
