package basic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

const (
	maxFile = 4 << 20
	// maxProblems is how many lines of one file are complained of.
	maxProblems = 5
	maxName     = 255
)

// entry is one line of an htpasswd file.
type entry struct {
	name string
	text string
	hash *passwordHash
	line int
}

// LineError is a line of an htpasswd file that cannot be used. It holds nothing of the line.
type LineError struct {
	File    string
	Line    int
	Message string
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message) }

// CheckFile tells what is wrong with an htpasswd file: the lines that cannot be used, or why it has no users that can.
func CheckFile(path string) (lines []*LineError, err error) {
	text, err := readFile(path)
	if err == nil {
		_, err = parseFile(path, text)
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return nil, err
	}
	for _, e := range joined.Unwrap() {
		var line *LineError
		if errors.As(e, &line) {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// parseFile reads lines of "name:hash", and what editors and tools make of them: a byte order mark, CRLF, blank lines, comments, and a
// second colon with a remark. One line that cannot be used refuses the file: an operator who adds a user wants to hear of it.
func parseFile(path string, text []byte) ([]entry, error) {
	var entries []entry
	var problems []error
	fail := func(line int, message string) {
		if len(problems) < maxProblems {
			problems = append(problems, &LineError{File: path, Line: line, Message: message})
		}
	}
	seen := map[string]int{}
	n := 0
	for line := range strings.Lines(string(bytes.TrimPrefix(text, []byte("\ufeff")))) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if start := strings.TrimLeft(line, " \t"); start == "" || start[0] == '#' {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			fail(n, err.Error())
			continue
		}
		if first := seen[e.name]; first > 0 {
			fail(n, fmt.Sprintf("the user of line %d again: remove one of them", first))
			continue
		}
		seen[e.name], e.line = n, n
		entries = append(entries, e)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(entries) == 0 {
		// That is also what a file looks like while it is being written.
		return nil, fmt.Errorf("%s has no users", path)
	}
	return entries, nil
}

func parseLine(line string) (entry, error) {
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return entry{}, errors.New("no colon: lines are name:hash")
	}
	if !nameable(name) {
		return entry{}, fmt.Errorf("no user name: 1 to %d bytes of UTF-8 without control characters", maxName)
	}
	text, _, _ := strings.Cut(rest, ":")
	text = strings.TrimRight(text, " \t")
	h, err := parseHash(text)
	if err != nil {
		return entry{}, err
	}
	return entry{name: name, text: text, hash: h}, nil
}

func nameable(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// readFile reads a regular file: a pipe would hold up the others.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", path, maxFile)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has over %d bytes", path, maxFile)
	}
	return text, err
}
