package dir

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests"
)

// content is a file's decoding, for as long as the file has that hash.
type content struct {
	hash   [sha256.Size]byte
	result Decoded
}

// held is an object in force. file (rel) is where it was last read.
type held struct {
	obj  *manifests.Object
	file string
}

// ledger is what is in force and why. It knows no time: a phase says how much of a tree may take effect.
type ledger struct {
	display func(rel string) string
	decode  func(name string, data []byte) Decoded

	inForce  map[manifests.Key]held
	missing  map[manifests.Key]bool            // named, never good
	read     map[string]map[manifests.Key]bool // by file: the objects last read from it, which it pins while it can't be read
	contents map[string]content                // by file: what is accepted of it
	carried  []manifests.Diagnostic            // of the start, said again in every Snapshot
}

// clone is for a look that changes nothing.
func (l *ledger) clone() *ledger {
	c := *l
	c.inForce, c.missing, c.contents = maps.Clone(l.inForce), maps.Clone(l.missing), maps.Clone(l.contents)
	c.read = make(map[string]map[manifests.Key]bool, len(l.read))
	for f, keys := range l.read {
		c.read[f] = maps.Clone(keys)
	}
	return &c
}

// known is the content of a file that needs no decoding again.
func (l *ledger) known(rel string) ([sha256.Size]byte, bool) {
	c, ok := l.contents[rel]
	return c.hash, ok
}

// claim is all that one read says about one object.
type claim struct {
	objs   []held
	broken []manifests.Position // where it is named and can't be understood
	pinned []string             // files that held it when they could last be read
}

// verdict is a phase's outcome in the making.
type verdict struct {
	claims map[manifests.Key]*claim
	ds     []manifests.Diagnostic
	pinned []manifests.Key
}

func (v *verdict) claim(k manifests.Key) *claim {
	c := v.claims[k]
	if c == nil {
		c = &claim{}
		v.claims[k] = c
	}
	return c
}

// apply lets a tree take effect as far as ph allows. still tells which files hold still, asked in the phase partial only. It reports
// false, and changes nothing that is in force, when edits must wait to take effect together with deletions.
func (l *ledger) apply(t *tree, ph phase, still func(file) bool) (Snapshot, bool) {
	if t.err != nil {
		if ph != whole && len(l.inForce) > 0 {
			return Snapshot{}, false
		}
		return l.nothingNew(t, unreadableRoot(l.display("."), t.err)), true
	}
	v := &verdict{claims: map[manifests.Key]*claim{}}
	for _, f := range t.files {
		l.file(v, f, ph != partial || still(f))
	}
	for _, dir := range slices.Sorted(maps.Keys(t.bad)) {
		l.unreadable(v, dir, t.bad[dir])
	}
	if ph == edits && l.deletes(v) {
		return Snapshot{}, false
	}
	if len(v.claims) == 0 && (ph == whole || len(l.inForce) == 0) {
		s := l.nothingNew(t, v.ds...)
		if len(v.ds) == 0 {
			s.Diagnostics = manifests.Sort(append(s.Diagnostics, emptyRoot(l.display("."))))
		}
		return s, true
	}
	missing := map[manifests.Key]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(v.claims), manifests.Key.Compare) {
		if !l.settle(v, k, v.claims[k]) {
			missing[k] = true
		}
	}
	l.forget(t, v, ph, missing)
	l.missing = missing
	return l.snapshot(t, v.ds, v.pinned, true), true
}

// file enters what one file says.
func (l *ledger) file(v *verdict, f file, accept bool) {
	c, ok := l.contents[f.rel]
	switch {
	case f.err != nil:
		v.ds = append(v.ds, manifests.Diagnostic{
			Severity: manifests.Error, Code: "unreadable-file", Pos: manifests.Position{File: l.display(f.rel)},
			Message: fmt.Sprintf("the file can't be read: %v", reason(f.err)), Hint: "objects last read from it stay in force",
		})
		l.pin(v, f.rel)
		return
	case !accept && (!ok || c.hash != f.stamp.hash):
		v.ds = append(v.ds, manifests.Diagnostic{
			Severity: manifests.Warning, Code: "restless-file", Pos: manifests.Position{File: l.display(f.rel)},
			Message: "the file is written again and again without a pause", Hint: "what was read from it before stays in force until it rests",
		})
		if !ok {
			l.pin(v, f.rel)
			return
		}
	case f.data != nil && (!ok || c.hash != f.stamp.hash):
		c = content{hash: f.stamp.hash, result: l.decode(l.display(f.rel), f.data)}
		l.contents[f.rel] = c
	}
	v.ds = append(v.ds, c.result.Diagnostics...)
	for _, k := range c.result.Broken {
		v.claim(k).broken = append(v.claim(k).broken, l.placeOf(f.rel, c.result, k))
		l.noteRead(f.rel, k)
	}
	if !c.result.Parsed {
		l.pin(v, f.rel)
		return
	}
	for _, o := range c.result.Objects {
		v.claim(o.Key).objs = append(v.claim(o.Key).objs, held{o, f.rel})
		l.noteRead(f.rel, o.Key)
	}
}

// placeOf is where the decoder complains of the object, else its file.
func (l *ledger) placeOf(rel string, d Decoded, k manifests.Key) manifests.Position {
	for _, diag := range d.Diagnostics {
		if diag.Object == k {
			return diag.Pos
		}
	}
	return manifests.Position{File: l.display(rel)}
}

// noteRead remembers that the file names the object. Until a whole read forgets it, a file that is truncated for an instant and
// unreadable thereafter still pins what it held before.
func (l *ledger) noteRead(rel string, k manifests.Key) {
	if l.read[rel] == nil {
		l.read[rel] = map[manifests.Key]bool{}
	}
	l.read[rel][k] = true
}

func (l *ledger) pin(v *verdict, rel string) {
	for k := range l.read[rel] {
		v.claim(k).pinned = append(v.claim(k).pinned, rel)
	}
}

// unreadable pins everything last read from below a directory.
func (l *ledger) unreadable(v *verdict, dir string, err error) {
	severity := manifests.Error
	if errors.Is(err, fs.ErrNotExist) {
		severity = manifests.Warning // a dangling link, until it turns out that it led to manifests
	}
	for _, rel := range slices.Sorted(maps.Keys(l.read)) {
		if within(rel, dir) {
			l.pin(v, rel)
			severity = manifests.Error
		}
	}
	v.ds = append(v.ds, manifests.Diagnostic{
		Severity: severity, Code: "unreadable-directory", Pos: manifests.Position{File: l.display(dir)},
		Message: fmt.Sprintf("the directory can't be read: %v", reason(err)), Hint: "objects last read from it stay in force",
	})
}

func within(rel, dir string) bool { return strings.HasPrefix(rel, dir+string(filepath.Separator)) }

// deletes tells whether anything known is no longer named.
func (l *ledger) deletes(v *verdict) bool {
	for k := range l.missing {
		if v.claims[k] == nil {
			return true
		}
	}
	for k := range l.inForce {
		if v.claims[k] == nil {
			return true
		}
	}
	return false
}

// settle decides one object and reports whether a version of it is in force.
func (l *ledger) settle(v *verdict, k manifests.Key, c *claim) bool {
	good, have := l.inForce[k]
	agreed := len(c.objs) > 0 && len(c.broken) == 0
	for _, h := range c.objs[min(1, len(c.objs)):] {
		agreed = agreed && string(h.obj.Canonical) == string(c.objs[0].obj.Canonical)
	}
	// Another file, which can't be read now, held this object: it may say something else.
	if agreed && have && len(c.pinned) > 0 {
		agreed = string(good.obj.Canonical) == string(c.objs[0].obj.Canonical)
	}
	places := l.places(c)
	switch {
	case agreed && len(c.objs) > 1:
		v.ds = append(v.ds, manifests.Diagnostic{
			Severity: manifests.Notice, Code: "duplicate-object", Pos: c.objs[0].obj.Pos, Object: k,
			Message: fmt.Sprintf("%s is written in several places, all alike: %s", k, strings.Join(places, ", ")),
			Hint:    "keep one of them",
		})
	case !agreed && len(places) > 1:
		v.ds = append(v.ds, manifests.Diagnostic{
			Severity: manifests.Error, Code: "conflicting-objects", Pos: l.firstPlace(c), Object: k,
			Message: fmt.Sprintf("%s is written in several places that differ: %s", k, strings.Join(places, ", ")),
			Hint:    "keep one of them",
		})
	}
	switch {
	case agreed:
		l.inForce[k] = c.objs[0]
		return true
	case have:
		v.pinned = append(v.pinned, k)
		v.ds = append(v.ds, manifests.Diagnostic{
			Severity: manifests.Warning, Code: "last-good-kept", Pos: l.firstPlace(c), Object: k,
			Message: fmt.Sprintf("%s stays in force as last read from %s", k, good.obj.Pos),
		})
		return true
	}
	v.ds = append(v.ds, manifests.Diagnostic{
		Severity: manifests.Error, Code: "no-last-good", Pos: l.firstPlace(c), Object: k,
		Message: fmt.Sprintf("%s was never good: it is not in force, and what depends on it is denied", k),
		Hint:    "repair it, or delete it",
	})
	return false
}

// places are all those that speak of the object, in order.
func (l *ledger) places(c *claim) []string {
	var out []string
	for _, h := range c.objs {
		out = append(out, h.obj.Pos.String())
	}
	for _, pos := range c.broken {
		out = append(out, pos.String())
	}
	for _, rel := range c.pinned {
		out = append(out, l.display(rel))
	}
	return out
}

func (l *ledger) firstPlace(c *claim) manifests.Position {
	switch {
	case len(c.objs) > 0:
		return c.objs[0].obj.Pos
	case len(c.broken) > 0:
		return c.broken[0]
	}
	return manifests.Position{File: l.display(c.pinned[0])}
}

// forget drops what is no longer named: in the phase whole for good, in the others not yet.
func (l *ledger) forget(t *tree, v *verdict, ph phase, missing map[manifests.Key]bool) {
	if ph != whole {
		for k := range l.missing {
			if _, have := l.inForce[k]; v.claims[k] == nil && !have {
				missing[k] = true
			}
		}
		return
	}
	for k := range l.inForce {
		if v.claims[k] == nil {
			delete(l.inForce, k)
		}
	}
	present := t.stamps()
	for rel, keys := range l.read {
		c, accepted := l.contents[rel]
		if _, ok := present[rel]; !ok && !l.underBad(t, rel) {
			delete(l.read, rel)
			delete(l.contents, rel)
		} else if ok && accepted && c.result.Parsed && present[rel].err == "" {
			now := map[manifests.Key]bool{}
			for _, o := range c.result.Objects {
				now[o.Key] = true
			}
			for _, k := range c.result.Broken {
				now[k] = true
			}
			maps.DeleteFunc(keys, func(k manifests.Key, _ bool) bool { return !now[k] })
		}
	}
	maps.DeleteFunc(l.contents, func(rel string, _ content) bool { _, ok := present[rel]; return !ok && !l.underBad(t, rel) })
}

func (l *ledger) underBad(t *tree, rel string) bool {
	for dir := range t.bad {
		if within(rel, dir) {
			return true
		}
	}
	return false
}

// nothingNew is the Snapshot of a directory that says nothing: what is in force stays.
func (l *ledger) nothingNew(t *tree, ds ...manifests.Diagnostic) Snapshot {
	return l.snapshot(t, ds, slices.Collect(maps.Keys(l.inForce)), false)
}

func (l *ledger) snapshot(t *tree, ds []manifests.Diagnostic, pinned []manifests.Key, ok bool) Snapshot {
	s := Snapshot{OK: ok, Pinned: pinned, Diagnostics: manifests.Sort(append(slices.Clone(l.carried), ds...))}
	for _, h := range l.inForce {
		s.Objects = append(s.Objects, h.obj)
	}
	s.Missing = slices.Collect(maps.Keys(l.missing))
	slices.SortFunc(s.Objects, func(a, b *manifests.Object) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(s.Pinned, manifests.Key.Compare)
	slices.SortFunc(s.Missing, manifests.Key.Compare)
	for _, rel := range t.skipped {
		s.Skipped = append(s.Skipped, l.display(rel))
	}
	return s
}

// memory is what a restart must know.
func (l *ledger) memory() memory {
	m := memory{Objects: []saved{}, Read: []named{}}
	for k, h := range l.inForce {
		m.Objects = append(m.Objects, saved{
			Group: k.Group, Kind: k.Kind, Namespace: k.Namespace, Name: k.Name,
			File: h.file, Line: h.obj.Pos.Line, Column: h.obj.Pos.Column, Canonical: string(h.obj.Canonical),
		})
	}
	for rel, keys := range l.read {
		for k := range keys {
			m.Read = append(m.Read, named{File: rel, Group: k.Group, Kind: k.Kind, Namespace: k.Namespace, Name: k.Name})
		}
	}
	slices.SortFunc(m.Objects, func(a, b saved) int { return a.key().Compare(b.key()) })
	slices.SortFunc(m.Read, func(a, b named) int { return cmp.Or(strings.Compare(a.File, b.File), a.key().Compare(b.key())) })
	return m
}

func unreadableRoot(name string, err error) manifests.Diagnostic {
	return manifests.Diagnostic{
		Severity: manifests.Error, Code: "unreadable-directory", Pos: manifests.Position{File: name},
		Message: fmt.Sprintf("the directory of manifests can't be read: %v; nothing new takes effect", reason(err)),
		Hint:    "name a directory that can be read",
	}
}

func emptyRoot(name string) manifests.Diagnostic {
	return manifests.Diagnostic{
		Severity: manifests.Error, Code: "empty-directory", Pos: manifests.Position{File: name},
		Message: "the directory holds no object; nothing new takes effect",
		Hint:    "write manifests into .yaml, .yml or .json files, or name another directory",
	}
}

// reason leaves out the path of a file error: the diagnostic has its own.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
