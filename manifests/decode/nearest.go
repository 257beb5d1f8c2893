package decode

// nearest is the one of names that word is most likely a slip for: at most two edits away (one in short words), or cut short.
// Empty where none is.
func nearest(word string, names []string) string {
	limit := 2
	if len(word) < 5 {
		limit = 1
	}
	best := ""
	for _, n := range names {
		if d := edits(word, n); d <= limit {
			best, limit = n, d-1
		}
	}
	if best != "" {
		return best
	}
	for _, n := range names {
		if len(word) >= 4 && len(word) < len(n) && n[:len(word)] == word {
			return n
		}
	}
	return ""
}

// edits counts the bytes to insert, drop, change or swap with their neighbour (optimal string alignment); words beyond 64 bytes
// are taken as unlike.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
