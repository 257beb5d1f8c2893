package dir_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/manifests/dir"
)

// model is DESIGN's "unit of failure" said naively: states follow each other whole, time does not exist.
type model struct {
	good    map[string]string          // object -> value in force
	missing map[string]bool            // objects
	read    map[string]map[string]bool // file -> objects when it last parsed
}

// take moves on to a state: file -> object -> value ("!" is broken); nil objects are a file that does not parse.
func (m *model) take(state map[string]map[string]string) {
	claimed := map[string][]string{}
	for file, objects := range state {
		if objects == nil {
			for o := range m.read[file] {
				claimed[o] = append(claimed[o], "pin")
			}
			continue
		}
		m.read[file] = map[string]bool{}
		for o, v := range objects {
			claimed[o] = append(claimed[o], v)
			m.read[file][o] = true
		}
	}
	maps.DeleteFunc(m.read, func(file string, _ map[string]bool) bool { _, ok := state[file]; return !ok })
	m.missing = map[string]bool{}
	for o, says := range claimed {
		old, have := m.good[o]
		values := map[string]bool{}
		for _, v := range says {
			switch {
			case v != "pin":
				values[v] = true
			case have:
				values[old] = true
			}
		}
		switch only := slices.Collect(maps.Keys(values)); {
		case len(only) == 1 && only[0] != "!":
			m.good[o] = only[0]
		case !have:
			m.missing[o] = true
		}
	}
	maps.DeleteFunc(m.good, func(o, _ string) bool { return claimed[o] == nil })
}

func (m *model) String() string {
	var out []string
	for _, o := range slices.Sorted(maps.Keys(m.good)) {
		out = append(out, o+"="+m.good[o])
	}
	return strings.Join(out, " ") + " missing " + strings.Join(slices.Sorted(maps.Keys(m.missing)), " ")
}

// Each state is a directory of its own, swapped in at once by a link, so that the source sees those states and none between.
func TestAgreesWithNaiveModel(t *testing.T) {
	p := newPlace(t)
	run := 0
	object := rapid.SampledFrom([]string{"x", "y", "z"})
	value := rapid.SampledFrom([]string{"1", "2", "!"})
	objects := rapid.OneOf(rapid.MapOfN(object, value, 0, 3), rapid.MapOfN(object, value, 0, 3), rapid.Just(map[string]string(nil)))
	states := rapid.SliceOfN(rapid.MapOfN(rapid.SampledFrom([]string{"a.yaml", "sub/b.yaml"}), objects, 0, 2), 2, 8)
	base := p.dir
	p.tweak = func(o *dir.Options) { o.Quiet = 8 * time.Millisecond }
	rapid.Check(t, func(rt *rapid.T) {
		run++
		p.state = filepath.Join(filepath.Dir(base), fmt.Sprintf("state%d", run))
		p.mkdir(p.state)
		link := filepath.Join(filepath.Dir(base), fmt.Sprintf("current%d", run))
		m := &model{good: map[string]string{}, read: map[string]map[string]bool{}}
		for i, state := range states.Draw(rt, "states") {
			// The marker is another in each state: when it is there, the whole state has taken effect, deletions too.
			marker := fmt.Sprintf("tick%d", i)
			p.dir = filepath.Join(base, fmt.Sprintf("%d-%d", run, i))
			p.write("tick.yaml", marker+" = 1\n")
			for file, objects := range state {
				text := "syntax"
				if objects != nil {
					text = ""
				}
				for o, v := range objects {
					text += o + " = " + v + "\n"
				}
				p.write(file, text)
			}
			p.must(os.Symlink(p.dir, link+".tmp"))
			p.must(os.Rename(link+".tmp", link))
			p.dir = link
			if i == 0 || rapid.IntRange(0, 3).Draw(rt, "restart") == 0 {
				if i > 0 {
					p.stop()
				}
				p.run()
			}
			m.take(state)
			m.good[marker] = "1"
			s := p.until(marker, func(s dir.Snapshot) bool {
				return !lacks(marker)(s) && (i == 0 || lacks(fmt.Sprintf("tick%d", i-1))(s))
			})
			if got := in(s) + " missing " + names(s.Missing); got != m.String() {
				rt.Fatalf("state %d %v:\ngot  %s\nwant %s", i, state, got, m)
			}
		}
		p.stop()
	})
}
