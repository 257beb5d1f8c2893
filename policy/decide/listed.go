package decide

import (
	"slices"
	"sort"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// Listed are the roles or groups that claims name, by l, in our words: sorted and without repeats. Claims that are strings, and the strings
// of lists count; what is of another type names nothing. Nil where l is nil or nothing is named.
func Listed(claims map[string]any, l *policy.Listing) []string {
	if l == nil {
		return nil
	}
	var out []string
	for _, path := range l.From {
		switch v, _ := claimAt(claims, path); v := v.(type) {
		case string:
			if l.Separator == "" {
				out = appendName(out, l, v)
				continue
			}
			for w := range strings.SplitSeq(v, l.Separator) {
				out = appendName(out, l, strings.TrimSpace(w))
			}
		case []any:
			for _, e := range v {
				if s, ok := e.(string); ok {
					out = appendName(out, l, s)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func appendName(out []string, l *policy.Listing, word string) []string {
	if len(l.Names) > 0 {
		i := sort.Search(len(l.Names), func(i int) bool { return l.Names[i].Name >= word })
		if i == len(l.Names) || l.Names[i].Name != word {
			return out
		}
		word = l.Names[i].Value
	}
	if word == "" {
		return out
	}
	return append(out, word)
}
