package basic

import (
	"context"
	"crypto/rand"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Reasons: stable codes for logs and metrics.
const (
	ReasonMalformed = "basic_malformed"      // no name and password in base64 of UTF-8, or a control character in them
	ReasonRefused   = "basic_refused"        // no such user, or another password
	ReasonAmbiguous = "basic_ambiguous"      // several of the accepted Credentials have a user of that name
	ReasonGuesses   = "basic_guesses"        // limited: too many passwords of that name were wrong
	ReasonBusy      = "basic_busy"           // unavailable: too many passwords wait to be hashed
	ReasonUsers     = "basic_users"          // unavailable: the users are not known
	ReasonCanceled  = "canceled"             // unavailable: the caller gave up
	filePoll        = 500 * time.Millisecond // how often htpasswd files are looked at
	maxRaw          = 2048                   // bytes of a credential in base64
	maxPassword     = 1024                   // bytes of a password
	keySize         = 32                     // bytes of the key of marks
)

// Options of a Verifier.
type Options struct {
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log is told of htpasswd files that cannot be used. Nil: none.
	Log *slog.Logger
	// Hashes is how many passwords may be hashed at once; 0: half of the cores, at least one. One more of those that were right within the hour
	// is hashed beside them, so that guesses do not hold them up.
	Hashes int
}

// Verifier verifies names and passwords. Safe for concurrent use; it starts nothing.
type Verifier struct {
	now func() time.Time
	log *slog.Logger
	key []byte
	// strangers and proven bound what is hashed at once.
	strangers, proven *gate
	scratch           sync.Pool
	counts            counts

	state      atomic.Pointer[state]
	publishing sync.Mutex // Publish and Run, and every source

	mu       sync.Mutex
	memory   memory
	limiter  limiter
	underway map[mark]*flight
}

type state struct {
	users map[policy.Name]*users
	// order of users is that of the Set.
	order []*users
}

// New makes a Verifier that knows nobody.
func New(o Options) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Hashes <= 0 {
		o.Hashes = max(1, runtime.GOMAXPROCS(0)/2)
	}
	v := &Verifier{
		now: o.Now, log: o.Log, key: make([]byte, keySize), strangers: newGate(o.Hashes), proven: newGate(1),
		memory: newMemory(), limiter: limiter{}, underway: map[mark]*flight{},
	}
	_, _ = rand.Read(v.key) // never an error (Go 1.24)
	v.scratch.New = func() any { return newScratch(v.key) }
	v.state.Store(&state{})
	return v
}

// Publish makes all the Credentials whose users are verified from now on. It reads htpasswd files that are new.
func (v *Verifier) Publish(all []policy.Credentials) {
	v.publishing.Lock()
	defer v.publishing.Unlock()
	old, next := v.state.Load(), &state{users: map[policy.Name]*users{}}
	for i := range all {
		c := &all[i]
		if len(c.Users) == 0 && c.Htpasswd == nil {
			continue
		}
		u := &users{conf: *c}
		if c.Htpasswd != nil {
			u.file = &source{path: c.Htpasswd.File}
			if before := old.users[c.Name]; before != nil && before.file != nil && before.file.path == u.file.path {
				u.file = before.file
			} else {
				u.file.look()
			}
		}
		u.write()
		v.complain(u, old.users[c.Name])
		next.users[c.Name], next.order = u, append(next.order, u)
	}
	v.state.Store(next)
}

// Run looks at htpasswd files until ctx ends. What changed counts within two seconds.
func (v *Verifier) Run(ctx context.Context) error {
	tick := time.NewTicker(filePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			v.refresh()
		}
	}
}

func (v *Verifier) refresh() {
	v.publishing.Lock()
	defer v.publishing.Unlock()
	for _, u := range v.state.Load().order {
		if u.file == nil || !u.file.look() {
			continue
		}
		before := &users{}
		before.book.Store(u.book.Load())
		u.write()
		v.complain(u, before)
	}
}

// complain logs what is newly wrong with u, or not wrong any more.
func (v *Verifier) complain(u, before *users) {
	var was string
	if before != nil {
		was = before.book.Load().problem
	}
	b := u.book.Load()
	switch b.problem {
	case was:
	case "":
		v.log.Info("users of Credentials can be used again", "credentials", u.conf.Name.String(), "users", len(b.all))
	default:
		v.log.Error("users of Credentials need mending", "credentials", u.conf.Name.String(), "error", b.problem, "usable", b.unusable == "")
	}
}

// Status is what an operator should know of the users of one Credentials.
type Status struct {
	Credentials policy.Name
	// File is the htpasswd file, empty where there is none.
	File string
	// Users is how many there are.
	Users int
	// Usable: passwords can be verified, if by what was good last.
	Usable bool
	// Problem is what to mend: where it is about a line, "file:line: why". It holds nothing of a password.
	Problem string
}

// Status of all Credentials with passwords, in the order of the Set.
func (v *Verifier) Status() []Status {
	st := v.state.Load()
	out := make([]Status, 0, len(st.order))
	for _, u := range st.order {
		b := u.book.Load()
		s := Status{Credentials: u.conf.Name, Users: len(b.all), Usable: b.unusable == "", Problem: b.problem}
		if u.file != nil {
			s.File = u.conf.Htpasswd.File
		}
		out = append(out, s)
	}
	return out
}

// Snapshot verifies by one configuration, whatever is published later. Htpasswd files are those of now.
type Snapshot struct {
	v  *Verifier
	st *state
}

// Snapshot is the configuration that was published last.
func (v *Verifier) Snapshot() Snapshot { return Snapshot{v: v, st: v.state.Load()} }
