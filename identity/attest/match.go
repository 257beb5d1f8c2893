package attest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// overflowUID stands for every user that the namespace can't name (user_namespaces(7)): it is nobody in particular.
const overflowUID = 65534

// Selectors recognise processes; all that are set must hold. None set: matches nothing.
type Selectors struct {
	UID, GID *uint32
	// Path is absolute.
	Path string
	// SHA256 in lower-case hex.
	SHA256 string
}

// Entry is one Workload.
type Entry struct {
	ID spiffeid.ID
	// Name for messages: "default/orders".
	Name      string
	Selectors Selectors
	// Denied says why no identity may be issued for it; empty: may.
	Denied string
}

// Match finds the one entry that a process with attributes a belongs to. explanation says what was attested and which entry it matched, or what the
// nearest lacks. The error is a *NotEntitledError with the explanation: no entry matches, several do, or the one is denied.
func Match(entries []Entry, a Attributes) (id spiffeid.ID, explanation string, err error) {
	var matches, names []string
	var found Entry
	for _, e := range entries {
		if missing, set := e.Selectors.missing(a); set > 0 && len(missing) == 0 {
			found = e
			matches = append(matches, e.ID.String())
			names = append(names, e.Name)
		}
	}
	switch {
	case len(matches) == 0:
		explanation = fmt.Sprintf("attested %s; %s", a, nearest(entries, a))
	case len(matches) > 1:
		slices.Sort(names)
		explanation = fmt.Sprintf("attested %s; %d Workloads match: %s: which one it is can't be told", a, len(matches), strings.Join(names, ", "))
	case found.Denied != "":
		explanation = fmt.Sprintf("attested %s; Workload %s matches, but: %s", a, found.Name, found.Denied)
	default:
		return found.ID, fmt.Sprintf("attested %s; Workload %s matches", a, found.Name), nil
	}
	return spiffeid.ID{}, explanation, &NotEntitledError{Reason: explanation}
}

// missing returns the selectors that don't hold, in words, and how many are set.
func (s Selectors) missing(a Attributes) (missing []string, set int) {
	if s.UID != nil {
		set++
		if *s.UID != a.UID || *s.UID == overflowUID {
			missing = append(missing, fmt.Sprintf("uid %d", *s.UID))
		}
	}
	if s.GID != nil {
		set++
		if *s.GID != a.GID || *s.GID == overflowUID {
			missing = append(missing, fmt.Sprintf("gid %d", *s.GID))
		}
	}
	if s.Path != "" {
		set++
		if s.Path != a.Path {
			missing = append(missing, "path "+s.Path)
		}
	}
	if s.SHA256 != "" {
		set++
		if s.SHA256 != a.SHA256 {
			missing = append(missing, "sha256 "+s.SHA256)
		}
	}
	return missing, set
}

// nearest names the entry that lacks the least; of several, the one with the most that holds, then the first by name.
func nearest(entries []Entry, a Attributes) string {
	var best Entry
	var bestMissing []string
	bestHolds := -1
	for _, e := range entries {
		missing, set := e.Selectors.missing(a)
		if set == 0 {
			continue
		}
		holds := set - len(missing)
		better := bestHolds < 0 || len(missing) < len(bestMissing) ||
			len(missing) == len(bestMissing) && (holds > bestHolds || holds == bestHolds && e.Name < best.Name)
		if better {
			best, bestMissing, bestHolds = e, missing, holds
		}
	}
	if bestHolds < 0 {
		return "there is no Workload with selectors"
	}
	return fmt.Sprintf("the nearest Workload is %s, which also needs %s", best.Name, strings.Join(bestMissing, ", "))
}
