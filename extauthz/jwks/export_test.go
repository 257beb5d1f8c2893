package jwks

import (
	"strconv"
	"time"
)

// RememberUnknown remembers n unknown kids, d apart, and returns how many are held then.
func RememberUnknown(n int, d time.Duration) int {
	var u unknownKids
	now := time.Unix(0, 0)
	for i := range n {
		u.add(kidOf(strconv.Itoa(i), "RS256"), now)
		now = now.Add(d)
	}
	if len(u.byKid) != u.order.Len() {
		return -1
	}
	return len(u.byKid)
}
