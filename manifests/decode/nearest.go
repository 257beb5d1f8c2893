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

// edits is the Levenshtein distance in bytes; beyond 64 bytes words are taken as unlike.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
