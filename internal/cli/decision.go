package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/credence-mesh/credence/internal/admin"
)

// printDecision says what was asked, by whom, what every rule says of it, what was decided, and what would change that.
func printDecision(w io.Writer, d *admin.Decision) error {
	lines := [][2]string{{"request", d.Method + " " + d.Host + d.Path}}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, [2]string{name, value})
		}
	}
	if !d.Time.IsZero() {
		add("decision", d.ID+" at "+d.Time.Local().Format("2006-01-02 15:04:05"))
	}
	add("proxy", d.Proxy)
	add("route", d.Route)
	add("peer", d.Peer)
	add("user", userText(d))
	if d.Revocation != "" {
		add("revoked", "by "+d.Revocation)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-10s%s\n", l[0], oneLine(l[1])); err != nil {
			return err
		}
	}
	for _, l := range d.Levels {
		if err := printLevel(w, &l); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdictText(d))
	return err
}

func userText(d *admin.Decision) string {
	u := d.User
	switch {
	case u == nil && len(d.Levels) == 0:
		return "none" // the request was refused before any rule was asked; the last line says why
	case u == nil:
		return "none: no credential"
	}
	text := u.Subject + ", by " + u.Credential
	for _, p := range [...]struct{ name, value string }{
		{"issuer", u.Issuer},
		{"client", u.Client},
		{"scopes", strings.Join(u.Scopes, " ")},
		{"roles", strings.Join(u.Roles, " ")},
		{"groups", strings.Join(u.Groups, " ")},
	} {
		if p.value != "" {
			text += ", " + p.name + " " + p.value
		}
	}
	return text
}

func printLevel(w io.Writer, l *admin.DecisionLevel) error {
	word := "does not allow"
	if l.Allows {
		word = "allows"
	}
	if _, err := fmt.Fprintf(w, "\n%s level %s\n", l.Level, word); err != nil {
		return err
	}
	var rows [][]string
	for _, r := range l.Rules {
		action := r.Action
		if r.Audit {
			action += " (audit)"
		}
		state := "no"
		if r.Matches {
			state = "yes"
		}
		rows = append(rows, []string{r.Policy, r.Rule, action, state, failing(r.Parts)})
	}
	if err := table(w, []string{"POLICY", "RULE", "ACTION", "MATCHES", "WHAT DOES NOT HOLD"}, rows); err != nil {
		return err
	}
	if l.More > 0 {
		if _, err := fmt.Fprintf(w, "and %s further from a match\n", plural(l.More, "rule")); err != nil {
			return err
		}
	}
	return nil
}

func failing(parts []admin.DecisionPart) string {
	var out []string
	for _, p := range parts {
		if !p.Holds {
			out = append(out, p.Part+": "+p.Want)
		}
	}
	return strings.Join(out, "; ")
}

func verdictText(d *admin.Decision) string {
	var b strings.Builder
	if d.Allowed {
		b.WriteString("allowed")
	} else {
		fmt.Fprintf(&b, "refused with %d (%s)", d.Status, d.Reason)
	}
	if d.Rule != "" {
		fmt.Fprintf(&b, " by rule %s of %s", oneLine(d.Rule), oneLine(d.Policy))
	}
	if d.Detail != "" {
		b.WriteString(": " + oneLine(d.Detail))
	}
	switch {
	case len(d.Changes) > 0:
		b.WriteString("\nit would be allowed with")
		for i, c := range d.Changes {
			if i > 0 {
				b.WriteString(", and")
			}
			for _, word := range [...]string{changeWords(c.What), oneLine(c.To)} {
				if word != "" {
					b.WriteString(" " + word)
				}
			}
		}
	case d.Forbidden != "":
		fmt.Fprintf(&b, "\nrule %s denies it whatever else the request has", oneLine(d.Forbidden))
	}
	return b.String()
}

func changeWords(what string) string {
	switch what {
	case "scopes":
		return "the scope"
	case "roles":
		return "the role"
	case "groups":
		return "the group"
	case "claims":
		return "the claim"
	case "credential":
		return ""
	case "principal":
		return "a token of"
	case "condition":
		return "the condition"
	}
	return "the " + what
}
