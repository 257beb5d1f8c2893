package extauthz

import (
	"strconv"
	"strings"
)

const acceptHeader = "accept"

// asksText tells whether Accept can ask for HTML at all.
func asksText(value string) bool {
	return strings.Contains(value, "text/") || strings.Contains(strings.ToLower(value), "text/")
}

// prefersHTML tells whether Accept asks for HTML more than for JSON (RFC 9110 §12.5.1). Whoever takes both alike, or anything, is a program.
func prefersHTML(values []string) bool {
	var page, data quality
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			kind, parameters, _ := strings.Cut(item, ";")
			kind = strings.ToLower(strings.Trim(kind, " \t"))
			q, ok := weight(parameters)
			if !ok {
				continue
			}
			switch kind {
			case "*/*":
				page.take(1, q)
				data.take(1, q)
			case "text/*":
				page.take(2, q)
			case "application/*":
				data.take(2, q)
			case "text/html":
				page.take(3, q)
			case "application/json", problemType:
				data.take(3, q)
			}
		}
	}
	return page.q > 0 && page.q > data.q
}

// quality is what the closest of all ranges says of one type.
type quality struct {
	closeness int
	q         float64
}

func (q *quality) take(closeness int, weight float64) {
	if closeness > q.closeness || closeness == q.closeness && weight > q.q {
		q.closeness, q.q = closeness, weight
	}
}

// weight is that of RFC 9110 §12.4.2: 0 to 1, at most three digits. False: it is none, and the range does not count.
func weight(parameters string) (float64, bool) {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.Trim(p, " \t"), "=")
		if !strings.EqualFold(strings.Trim(name, " \t"), "q") {
			continue
		}
		value = strings.Trim(value, " \t")
		if len(value) == 0 || len(value) > 5 || strings.Trim(value, "0123456789.") != "" {
			return 0, false
		}
		q, err := strconv.ParseFloat(value, 64)
		return q, err == nil && q <= 1
	}
	return 1, true
}
