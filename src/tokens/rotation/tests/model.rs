//! Every order of events, checked: callers follow the product's own steps in a world of a store, a provider whose
//! refresh tokens work once, and time. Callers may start late, stop or crash at any point; answers come late or
//! are lost; renewals of a mark do not get through; the store fails, or forgets what it had acknowledged; clocks
//! differ, and are set meanwhile.

use super::super::state_machine::{
    Command, Event, Exchange, HOLD_OFF, Now, Outcome, ProviderOutcome, QUIET, RENEW, RecordHeader, SKEW, Wanted,
};
use crate::clock::UnixTime;
use stateright::{Checker, Model, Property};
use std::time::Duration;

/// How far time moves at once: to the next renewal of a mark.
const TICK: UnixTime = RENEW.as_secs() as UnixTime;
/// How long a caller waits for another one, as in the product.
const PATIENCE: UnixTime = 20;
/// How long a call to the provider may take; longer than a mark is waited for.
const LONGEST_CALL: UnixTime = 30;

/// A record: what is known of it, and its refresh token's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    view: RecordHeader,
    token: u8,
}

impl Record {
    fn new(number: u8) -> Self {
        let view = RecordHeader { generation: number.into(), asked_at: None, write: 0, fresh: number > 0 };
        Self { view, token: number }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Caller {
    exchange: Exchange,
    phase: Phase,
    /// The record as it was last read or written.
    seen: Option<Record>,
    answer: Option<Record>,
    /// The newest record that this caller's replica ever saw.
    remembered: Option<Record>,
    since: Option<UnixTime>,
    /// When it last gave a sign of life, really.
    sign: Option<UnixTime>,
    /// How far its clock is ahead.
    ahead: UnixTime,
    /// Its machine sleeps: it does nothing, and renews no mark.
    asleep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    At(Command),
    /// Waiting until then.
    Pausing(UnixTime),
    /// Its request is with the provider, which has seen it or will.
    Calling {
        ends: UnixTime,
        /// What the provider said, once it has seen the request.
        got: Option<Option<u8>>,
    },
    Done(Outcome),
    Crashed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: UnixTime,
    record: Option<Record>,
    /// What the record was before the last write.
    before: Option<Record>,
    newest: u8,
    /// The provider saw a spent token.
    reused: bool,
    /// Somebody was told that the provider does not accept the login any more.
    refused: bool,
    /// Something happened after which the living token cannot be known: an answer did not come through, or the store
    /// forgot it; or somebody asked without giving a sign of life for as long as others wait for one.
    lost: bool,
    /// Somebody asked with an older token than its replica had seen.
    unlearned: bool,
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
    FallAsleep(usize),
    Wake(usize),
    /// Its clock is set.
    Set(usize),
    /// The store forgets the last thing it was told, as after a failover to a replica that lagged.
    Forget,
    Tick,
}

struct Protocol {
    /// For each caller, how far its clock is ahead at first.
    clocks: Vec<UnixTime>,
    /// By how much a clock is set; 0: none is.
    set: UnixTime,
    faults: u8,
    /// When time ends.
    last: UnixTime,
    /// What the store holds at first, and what the first caller's replica remembers.
    record: Option<Record>,
    remembered: Option<Record>,
}

impl Caller {
    fn new(ahead: UnixTime) -> Self {
        let (exchange, command) = Exchange::begin(true, Wanted::Any);
        let phase = Phase::At(command);
        let (seen, answer, remembered, since, sign) = (None, None, None, None, None);
        Self { exchange, phase, seen, answer, remembered, since, sign, ahead, asleep: false }
    }
}

impl Protocol {
    fn new(clocks: &[UnixTime], faults: u8, last: UnixTime) -> Self {
        Self { clocks: clocks.to_vec(), set: 0, faults, last, record: Some(Record::new(0)), remembered: None }
    }

    /// How long after its last sign of life a caller may be taken for dead at the earliest.
    fn held(&self) -> UnixTime {
        let wild = self.set != 0 || self.clocks.iter().any(|ahead| ahead.abs() > SKEW);
        if wild { QUIET.as_secs() as UnixTime } else { HOLD_OFF - SKEW }
    }

    /// The caller does what its command says, and takes its next step. `failing`: the store does not answer.
    fn step(&self, world: &mut World, who: usize, failing: bool) {
        let now = world.now_of(who);
        let since = *world.callers[who].since.get_or_insert(world.now);
        let seen = world.callers[who].seen;
        let event = match world.callers[who].phase {
            Phase::Pausing(_) if world.now >= since + PATIENCE => Event::Late,
            Phase::Pausing(_) => Event::Paused,
            Phase::At(Command::Ask) => {
                let since_mark = now.wall - mark(seen).unwrap_or(now.wall);
                let really = world.now - world.callers[who].sign.unwrap_or(world.now);
                if (0..=TICK).contains(&since_mark) && really <= TICK {
                    let remembered = world.callers[who].remembered;
                    world.unlearned |= token(seen) < token(remembered);
                    let ends = world.now + LONGEST_CALL;
                    world.callers[who].phase = Phase::Calling { ends, got: None };
                    return;
                }
                Event::Late
            }
            Phase::At(_) if failing => Event::StoreFailed,
            Phase::At(Command::Read) => {
                let remembered = world.callers[who].remembered;
                if token(world.record) < token(remembered) || world.record.is_none() {
                    // The store is behind.
                    world.write(who, world.record, remembered);
                }
                world.learn(who, world.record);
                Event::Record(world.record.map(|record| record.view))
            }
            Phase::At(Command::Mark) => Event::Wrote(world.write(who, seen, with_mark(seen, Some(now.wall)))),
            Phase::At(Command::Unmark) => Event::Wrote(world.write(who, seen, with_mark(seen, None))),
            Phase::At(Command::WriteAnswer) => Event::Wrote(world.write(who, seen, world.callers[who].answer)),
            _ => return,
        };
        self.go_on(world, who, event);
    }

    fn go_on(&self, world: &mut World, who: usize, event: Event) {
        let now = world.now_of(who);
        let command = world.callers[who].exchange.next(event, now);
        match command {
            Command::Pause => world.callers[who].phase = Phase::Pausing(world.now + TICK),
            Command::Finish(end) => {
                world.lost |= end == Outcome::Unwritten;
                world.end(who, Phase::Done(end));
            }
            command => world.callers[who].phase = Phase::At(command),
        }
    }

    /// The answer, or that it is lost, reaches the caller.
    fn answer(&self, world: &mut World, who: usize, lost: bool) {
        let Phase::Calling { got, .. } = world.callers[who].phase else { return };
        let outcome = match got {
            _ if lost => ProviderOutcome::Unknown,
            Some(Some(token)) => {
                let generation = world.callers[who].seen.map_or(0, |record| record.view.generation) + 1;
                let view = RecordHeader { generation, asked_at: None, write: 0, fresh: true };
                world.callers[who].answer = Some(Record { view, token });
                ProviderOutcome::Answered
            }
            _ => ProviderOutcome::Refused,
        };
        world.lost |= lost && got.is_some();
        world.refused |= outcome == ProviderOutcome::Refused;
        self.go_on(world, who, Event::Asked(outcome));
    }

    /// Whether a caller has a call or its answer in hand and gave no sign of life for as long as others wait for one.
    fn is_overdue(&self, world: &World, who: usize) -> bool {
        let caller = &world.callers[who];
        let in_hand = match caller.phase {
            Phase::Calling { .. } => true,
            Phase::At(_) => caller.answer.is_some() && world.record != caller.answer,
            _ => false,
        };
        in_hand && caller.sign.is_some_and(|sign| world.now - sign >= self.held())
    }
}

impl World {
    fn now_of(&self, who: usize) -> Now {
        let uptime = Duration::from_secs(self.now.unsigned_abs());
        Now { wall: self.now + self.callers[who].ahead, uptime }
    }

    /// All that is known of a caller at its end is how it ended.
    fn end(&mut self, who: usize, phase: Phase) {
        self.callers[who] = Caller { phase, ..Caller::new(0) };
    }

    /// Compare-and-set.
    fn write(&mut self, who: usize, expected: Option<Record>, mut new: Option<Record>) -> bool {
        if let Some(marked) = new.as_mut().filter(|new| new.view.asked_at.is_some()) {
            marked.view.write = self.now.unsigned_abs() * 4 + who as u64;
        }
        let fits = self.record == expected;
        if fits && self.record != new {
            (self.before, self.record) = (self.record, new);
        }
        if fits {
            self.learn(who, new);
            self.callers[who].sign = mark(new).map(|_| self.now);
        }
        fits
    }

    fn learn(&mut self, who: usize, record: Option<Record>) {
        let caller = &mut self.callers[who];
        caller.seen = record;
        if token(record) >= token(caller.remembered) {
            caller.remembered = record.or(caller.remembered);
        }
    }
}

fn mark(record: Option<Record>) -> Option<UnixTime> {
    record?.view.asked_at
}

fn token(record: Option<Record>) -> u8 {
    record.map_or(0, |record| record.token)
}

fn with_mark(record: Option<Record>, asked_at: Option<UnixTime>) -> Option<Record> {
    record.map(|record| Record { view: RecordHeader { asked_at, ..record.view }, ..record })
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut callers: Vec<_> = self.clocks.iter().map(|ahead| Caller::new(*ahead)).collect();
        callers[0].remembered = self.remembered;
        let newest = token(self.remembered).max(token(self.record));
        // Who does not remember what the store has forgotten cannot know better.
        let lost = token(self.record) < newest && callers.len() > 1;
        let now = 1000;
        let reused = false;
        let refused = false;
        let unlearned = false;
        let record = self.record;
        let faults_left = self.faults;
        vec![World { now, record, before: record, newest, reused, refused, lost, unlearned, callers, faults_left }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let faulty = world.faults_left > 0;
        for (who, caller) in world.callers.iter().enumerate() {
            if caller.asleep {
                actions.push(Action::Wake(who));
                continue;
            }
            let begun = caller.since.is_some();
            let runs = !matches!(caller.phase, Phase::Done(_) | Phase::Crashed);
            if faulty && self.set != 0 && begun && runs {
                actions.push(Action::Set(who));
            }
            match caller.phase {
                Phase::At(command) => {
                    actions.push(Action::Step(who));
                    if faulty && begun {
                        actions.extend([Action::Crash(who), Action::FallAsleep(who)]);
                    }
                    if faulty && command != Command::Ask {
                        actions.push(Action::StoreFails(who));
                    }
                }
                Phase::Pausing(until) if world.now >= until => actions.push(Action::Step(who)),
                Phase::Calling { ends, got } => {
                    actions.push(if got.is_none() { Action::Arrives(who) } else { Action::Answer(who) });
                    if faulty || world.now >= ends {
                        actions.push(Action::LoseAnswer(who));
                    }
                    if faulty {
                        actions.extend([Action::Crash(who), Action::FallAsleep(who)]);
                    }
                }
                _ => {}
            }
        }
        if faulty && world.record != world.before {
            actions.push(Action::Forget);
        }
        // Whoever is awake does not stand still once it has begun, and a call is over by its end.
        let lets_time_pass = |caller: &Caller| match caller.phase {
            _ if caller.asleep => true,
            Phase::At(_) => caller.since.is_none(),
            Phase::Calling { ends, .. } => world.now < ends,
            _ => true,
        };
        let waits = |caller: &Caller| matches!(caller.phase, Phase::Pausing(until) if until > world.now);
        let more_time = world.now < 1000 + self.last || world.callers.iter().any(waits);
        let all_done = world.callers.iter().all(|caller| matches!(caller.phase, Phase::Done(_) | Phase::Crashed));
        if more_time && !all_done && world.callers.iter().all(lets_time_pass) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let costs = |action| {
            use Action::{Crash, FallAsleep, Forget, LoseAnswer, Set, StoreFails};
            matches!(action, Crash(_) | FallAsleep(_) | Forget | LoseAnswer(_) | Set(_) | StoreFails(_))
        };
        if costs(action) {
            world.faults_left = world.faults_left.saturating_sub(1);
        }
        match action {
            Action::Step(who) => self.step(&mut world, who, false),
            // An answer that cannot be written waits in the memory of its caller, who may die.
            Action::StoreFails(who) => self.step(&mut world, who, true),
            Action::Crash(who) => {
                let Caller { phase, answer, .. } = world.callers[who];
                world.lost |= match phase {
                    Phase::Calling { got, .. } => got.is_some(),
                    _ => answer.is_some() && world.record != answer,
                };
                world.end(who, Phase::Crashed);
            }
            Action::Arrives(who) => {
                let fits = token(world.callers[who].seen) == world.newest && !world.reused;
                world.newest += u8::from(fits);
                world.reused |= !fits;
                let newest = world.newest;
                if let Phase::Calling { got, .. } = &mut world.callers[who].phase {
                    *got = Some(fits.then_some(newest));
                }
            }
            Action::Answer(who) => self.answer(&mut world, who, false),
            Action::LoseAnswer(who) => self.answer(&mut world, who, true),
            Action::FallAsleep(who) => world.callers[who].asleep = true,
            Action::Wake(who) => world.callers[who].asleep = false,
            Action::Set(who) => world.callers[who].ahead += self.set,
            Action::Forget => {
                world.lost |= token(world.before) < token(world.record) || mark(world.record).is_some();
                world.record = world.before;
            }
            Action::Tick => {
                world.now += TICK;
                for who in 0..world.callers.len() {
                    let Caller { phase, seen, asleep, .. } = world.callers[who];
                    let behind = |there: Option<Record>| token(there) <= token(seen);
                    if matches!(phase, Phase::Calling { .. }) && !asleep && behind(world.record) {
                        let renewed = with_mark(seen, Some(world.now_of(who).wall));
                        world.write(who, world.record, renewed);
                    }
                    world.lost |= self.is_overdue(&world, who);
                }
            }
        }
        if world.faults_left == 0 {
            world.before = world.record;
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn all_good(world: &World) -> bool {
            let good = |caller: &Caller| matches!(caller.phase, Phase::Done(Outcome::Recorded | Outcome::Answered));
            world.callers.iter().all(good)
        }
        fn any(world: &World, end: Outcome) -> bool {
            world.callers.iter().any(|caller| caller.phase == Phase::Done(end))
        }
        vec![
            Property::always("no two calls are under way with the same token", |_, world: &World| {
                let calling = world.callers.iter().filter(|caller| matches!(caller.phase, Phase::Calling { .. }));
                let tokens: Vec<_> = calling.map(|caller| token(caller.seen)).collect();
                world.lost || tokens.iter().all(|token| tokens.iter().filter(|other| *other == token).count() == 1)
            }),
            Property::always("a token is spent twice only where an answer was lost", |_, world: &World| {
                !world.reused || world.lost
            }),
            Property::always("nobody asks with an older token than its replica has seen", |_, world: &World| {
                !world.unlearned
            }),
            Property::always("what is handed out is the newest", |_, world: &World| {
                let handed_out = any(world, Outcome::Recorded) || any(world, Outcome::Answered);
                world.lost || !handed_out || token(world.record) == world.newest
            }),
            Property::always("nobody is told that a login is gone that is not", |model: &Self, world: &World| {
                let gone = any(world, Outcome::Missing) && model.record.is_some();
                !gone && (!world.refused || world.lost)
            }),
            Property::eventually("nobody waits for ever, whoever crashes", |_, world: &World| {
                world.callers.iter().all(|caller| matches!(caller.phase, Phase::Done(_) | Phase::Crashed))
            }),
            Property::sometimes("everybody gets a token", |_, world: &World| all_good(world)),
            Property::sometimes("after a crash in a call the next caller takes over", |model: &Self, world: &World| {
                let crashed = world.callers.iter().any(|caller| caller.phase == Phase::Crashed);
                let several = model.clocks.len() > 1;
                model.faults == 0 || !several || model.last < 2 * HOLD_OFF || crashed && any(world, Outcome::Answered)
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
fn two_callers_and_faults_in_every_order() {
    let (faults, last) = if full() { (2, 60) } else { (1, 40) };
    check(Protocol::new(&[0, 3], faults, last), 1_000);
    check(Protocol::new(&[0, -3], faults, last), 1_000);
}

#[test]
fn two_callers_whose_clocks_are_wrong_by_minutes() {
    let (faults, last) = if full() { (2, 50) } else { (1, 40) };
    check(Protocol::new(&[0, 300], faults, last), 1_000);
    check(Protocol::new(&[0, -300], faults, last), 1_000);
}

#[test]
fn two_callers_whose_clocks_are_set_at_any_moment() {
    let (faults, last) = if full() { (2, 50) } else { (1, 40) };
    for set in [-3600, -HOLD_OFF, HOLD_OFF, 3600] {
        check(Protocol { set, ..Protocol::new(&[0, 3], faults, last) }, 1_000);
    }
}

#[test]
fn three_callers_in_every_order() {
    let (faults, last) = if full() { (1, 30) } else { (0, 10) };
    check(Protocol::new(&[0, 3, -2], faults, last), 1_000);
}

#[test]
fn a_store_that_is_behind_is_set_right_by_who_remembers() {
    for record in [Some(Record::new(0)), None] {
        let remembered = Some(Record { view: RecordHeader { fresh: false, ..Record::new(1).view }, token: 1 });
        for clocks in [&[0][..], &[0, 3]] {
            check(Protocol { record, remembered, ..Protocol::new(clocks, 1, 30) }, 10);
        }
    }
}
