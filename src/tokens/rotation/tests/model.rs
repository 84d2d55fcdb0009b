//! Every order of events, checked: callers follow the product's own steps in a world of a store, a lease, a provider whose
//! refresh tokens work once, and time. Callers may start late, stand still or crash at any point; answers may be lost;
//! the store may fail.

use super::super::CALL_NEEDS;
use super::super::lease;
use super::super::steps::{CALL_ENDS, Command, End, Event, Exchange, HOLD_OFF, Outcome, View};
use crate::clock::UnixTime;
use stateright::{Checker, Model, Property};

/// How far time moves at once.
const TICK: UnixTime = 10;
/// How long a caller may take for all of it, as the product's budget.
const BUDGET: UnixTime = 20;

/// A record: what is known of it, and its refresh token's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    view: View,
    token: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    /// At this command, having read or written `seen` last; began at `since`, if it has.
    At {
        exchange: Exchange,
        command: Command,
        seen: Option<Record>,
        answer: Option<Record>,
        since: Option<UnixTime>,
        waits_until: UnixTime,
    },
    /// Its request is with the provider, which has seen it or will.
    Calling {
        exchange: Exchange,
        seen: Option<Record>,
        since: UnixTime,
        ends: UnixTime,
        got: Option<Option<u8>>,
    },
    Done(End),
    Crashed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: UnixTime,
    record: Option<Record>,
    lease: Option<(usize, UnixTime)>,
    newest: u8,
    /// The provider saw a spent token.
    reused: bool,
    /// Somebody was told that the provider does not accept the login any more.
    refused: bool,
    /// Something happened after which the living token cannot be known: an answer did not come through.
    lost: bool,
    callers: Vec<Caller>,
    faults_left: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Step(usize),
    StoreFails(usize),
    Crash(usize),
    /// The provider sees the request.
    Arrives(usize),
    Answer(usize),
    LoseAnswer(usize),
    Tick,
}

struct Protocol {
    callers: usize,
    faults: u8,
    /// When time ends.
    last: UnixTime,
}

impl World {
    /// The caller does what its command says, and takes its next step. `failing`: the store does not answer.
    fn step(&mut self, who: usize, failing: bool) {
        let Caller::At { mut exchange, command, mut seen, answer, since, .. } = self.callers[who] else { return };
        let since = since.unwrap_or(self.now);
        let event = match command {
            Command::Finish(end) => return self.callers[who] = Caller::Done(end),
            Command::Release(end) => {
                if !failing && self.lease.is_some_and(|(owner, _)| owner == who) {
                    self.lease = None;
                }
                self.lost |= end == End::Unwritten;
                return self.callers[who] = Caller::Done(end);
            }
            Command::Pause if self.now >= since + BUDGET => Event::Late,
            Command::Pause => Event::Paused,
            Command::Ask => {
                let ends = (since + BUDGET).min(mark(seen).map_or(UnixTime::MAX, |mark| mark + CALL_ENDS));
                if ends - self.now >= CALL_NEEDS.as_secs() as i64 {
                    self.callers[who] = Caller::Calling { exchange, seen, since, ends, got: None };
                    return;
                }
                Event::Asked(Outcome::TurnedAway)
            }
            _ if failing => Event::StoreFailed,
            Command::Read => {
                seen = self.record;
                Event::Record(seen.map(|record| record.view))
            }
            Command::TakeLease => {
                let free = self.lease.is_none_or(|(_, until)| self.now >= until);
                if free {
                    self.lease = Some((who, self.now + lease::LASTS.as_secs() as i64));
                }
                Event::Lease(free)
            }
            Command::Mark => self.write(&mut seen, |record| View { asked_at: Some(record.now), ..record.view }),
            Command::Unmark => self.write(&mut seen, |record| View { asked_at: None, ..record.view }),
            Command::WriteAnswer => {
                let fits = self.record == seen;
                if fits {
                    (self.record, seen) = (answer, answer);
                }
                Event::Wrote(fits)
            }
        };
        let command = exchange.next(event, self.now);
        let waits_until = if command == Command::Pause { self.now + TICK } else { 0 };
        self.callers[who] = Caller::At { exchange, command, seen, answer, since: Some(since), waits_until };
    }

    fn write(&mut self, seen: &mut Option<Record>, change: impl Fn(Now) -> View) -> Event {
        let fits = self.record == *seen;
        if let (true, Some(record)) = (fits, self.record.as_mut()) {
            record.view = change(Now { now: self.now, view: record.view });
            *seen = self.record;
        }
        Event::Wrote(fits)
    }

    /// The answer, or that it is lost, reaches the caller.
    fn answer(&mut self, who: usize, lost: bool) {
        let Caller::Calling { mut exchange, seen, since, got, .. } = self.callers[who] else { return };
        let mut answer = None;
        let outcome = match got {
            _ if lost => Outcome::Unknown,
            Some(Some(token)) => {
                let generation = seen.map_or(0, |record| record.view.generation) + 1;
                let view = View { generation, asked_at: None, fresh_until: UnixTime::MAX };
                answer = Some(Record { view, token });
                Outcome::Answered
            }
            _ => Outcome::Refused,
        };
        self.lost |= lost && got.is_some();
        self.refused |= outcome == Outcome::Refused;
        let command = exchange.next(Event::Asked(outcome), self.now);
        self.callers[who] = Caller::At { exchange, command, seen, answer, since: Some(since), waits_until: 0 };
    }
}

struct Now {
    now: UnixTime,
    view: View,
}

fn mark(record: Option<Record>) -> Option<UnixTime> {
    record?.view.asked_at
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let (exchange, command) = Exchange::begin(true);
        let caller = Caller::At { exchange, command, seen: None, answer: None, since: None, waits_until: 0 };
        let view = View { generation: 0, asked_at: None, fresh_until: 0 };
        vec![World {
            now: 100,
            record: Some(Record { view, token: 0 }),
            lease: None,
            newest: 0,
            reused: false,
            refused: false,
            lost: false,
            callers: vec![caller; self.callers],
            faults_left: self.faults,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (who, caller) in world.callers.iter().enumerate() {
            match caller {
                Caller::At { waits_until, .. } if world.now >= *waits_until => {
                    actions.push(Action::Step(who));
                    if world.faults_left > 0 {
                        actions.extend([Action::StoreFails(who), Action::Crash(who)]);
                    }
                }
                Caller::Calling { got, .. } => {
                    actions.push(if got.is_none() { Action::Arrives(who) } else { Action::Answer(who) });
                    if world.faults_left > 0 {
                        actions.extend([Action::LoseAnswer(who), Action::Crash(who)]);
                    }
                }
                _ => {}
            }
        }
        // A call is over by its end; no time passes beyond it before.
        let in_time = |caller: &Caller| !matches!(caller, Caller::Calling { ends, .. } if *ends < world.now + TICK);
        let waiting = |caller: &Caller| matches!(caller, Caller::At { waits_until, .. } if *waits_until > world.now);
        let goes_on = world.now < 100 + self.last || world.callers.iter().any(waiting);
        if goes_on && world.callers.iter().all(in_time) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Step(who) => world.step(who, false),
            Action::StoreFails(who) => {
                world.faults_left -= 1;
                // An answer that cannot be written waits in the memory of its caller, who may die.
                world.step(who, true);
            }
            Action::Crash(who) => {
                world.faults_left -= 1;
                world.lost |= match world.callers[who] {
                    Caller::Calling { got, .. } => got.is_some(),
                    Caller::At { answer, .. } => answer.is_some() && world.record != answer,
                    _ => false,
                };
                world.callers[who] = Caller::Crashed;
            }
            Action::Arrives(who) => {
                if let Caller::Calling { seen, got, .. } = &mut world.callers[who] {
                    let fits = seen.map_or(0, |record| record.token) == world.newest && !world.reused;
                    world.newest += u8::from(fits);
                    world.reused |= !fits;
                    *got = Some(fits.then_some(world.newest));
                }
            }
            Action::Answer(who) => world.answer(who, false),
            Action::LoseAnswer(who) => {
                world.faults_left -= 1;
                world.answer(who, true);
            }
            Action::Tick => {
                world.now += TICK;
                // Whoever stands still with an answer until others may try the old token has as good as lost it.
                let now = world.now;
                world.lost |= world.callers.iter().any(|caller| {
                    let Caller::At { seen, answer: Some(_), .. } = caller else { return false };
                    mark(*seen).is_some_and(|mark| now >= mark + HOLD_OFF)
                });
                // Whoever is in a call renews its lease.
                if let Some((owner, until)) = &mut world.lease
                    && matches!(world.callers[*owner], Caller::Calling { .. })
                    && world.now - TICK < *until
                {
                    *until = world.now + lease::LASTS.as_secs() as i64;
                }
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no two calls are under way with the same token", |_, world: &World| {
                let calling = world.callers.iter().filter_map(|caller| match caller {
                    Caller::Calling { seen, .. } => Some(seen.map_or(0, |record| record.token)),
                    _ => None,
                });
                let tokens: Vec<_> = calling.collect();
                tokens.iter().all(|token| tokens.iter().filter(|other| *other == token).count() == 1)
            }),
            Property::always("a token is spent twice only where an answer was lost", |_, world: &World| {
                !world.reused || world.lost
            }),
            Property::always("what is handed out is the newest", |_, world: &World| {
                let good = |caller: &Caller| matches!(caller, Caller::Done(End::Recorded | End::Answered));
                world.lost || !world.callers.iter().any(good) || world.record.is_some_and(|r| r.token == world.newest)
            }),
            Property::always("nobody is told that a login is gone that is not", |_, world: &World| {
                let gone = world.callers.contains(&Caller::Done(End::Missing));
                !gone && (!world.refused || world.lost)
            }),
            Property::eventually("nobody waits for ever, whoever crashes", |_, world: &World| {
                world.callers.iter().all(|caller| matches!(caller, Caller::Done(_) | Caller::Crashed))
            }),
            Property::sometimes("everybody gets a token", |_, world: &World| {
                let good = |caller: &Caller| matches!(caller, Caller::Done(End::Recorded | End::Answered));
                world.callers.iter().all(good)
            }),
            Property::sometimes("after a crash in a call the next caller holds off", |model: &Self, world: &World| {
                model.faults == 0
                    || world.callers.contains(&Caller::Crashed)
                        && world.callers.iter().any(|caller| matches!(caller, Caller::Done(End::HeldOff(_))))
            }),
        ]
    }
}

fn check(protocol: Protocol, least_states: usize) {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    assert!(checker.unique_state_count() > least_states, "{}", checker.unique_state_count());
    checker.assert_properties();
}

fn full() -> bool {
    std::env::var_os("TESTS_FULL").is_some()
}

#[test]
fn two_callers_and_two_faults_in_every_order() {
    check(Protocol { callers: 2, faults: 2, last: if full() { 60 } else { 30 } }, 100_000);
}

#[test]
fn three_callers_in_every_order() {
    let (faults, last) = if full() { (1, 30) } else { (0, 10) };
    check(Protocol { callers: 3, faults, last }, 10_000);
}
