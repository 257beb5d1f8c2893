package cli

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/credence-mesh/credence/extauthz/apikey"
)

func newCredentials(streams IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "credentials",
		Short: "make what Credentials hold: hashes of passwords, and API keys",
		Example: `  credence credentials hash --user alice
  credence credentials api-key --subject billing --prefix shop --scope orders:read`,
		Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{newHash(streams), newAPIKey(streams)} {
		c.AddCommand(sub)
		sub.Args = exactly(sub)
	}
	return c
}

// Parameters of argon2id (RFC 9106 §4, OWASP's second choice): 44 ms on two cores.
const (
	argonPasses = 1
	argonMemory = 46 << 10 // KiB
	argonLanes  = 1
	argonSalt   = 16
	argonTag    = 32
	bcryptCost  = 10
)

func newHash(streams IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "hash",
		Short: "print the hash of a password, for spec.basic.users of Credentials or an htpasswd file",
		Long: `hash asks for a password twice, without showing it, or reads one line from standard input where that is no terminal. It never takes a password from the
command line: others can read that. It prints the hash (argon2id; bcrypt with --bcrypt); with --user a line of YAML, with --htpasswd one of an htpasswd file.`,
		Example: `  credence credentials hash --user alice
  credence credentials hash --user alice --htpasswd >> users.htpasswd
  openssl rand -base64 24 | tee password.txt | credence credentials hash --user robot`,
	}
	user := c.Flags().String("user", "", "print a line with this user")
	useBcrypt := c.Flags().Bool("bcrypt", false, "bcrypt instead of argon2id, for files that other programs read too")
	htpasswd := c.Flags().Bool("htpasswd", false, "print user:hash")
	c.RunE = func(_ *cobra.Command, _ []string) error {
		switch {
		case *htpasswd && *user == "":
			return fmt.Errorf("%w: --htpasswd needs --user", errUsage)
		case strings.ContainsAny(*user, ":\n\r") || !utf8.ValidString(*user):
			return fmt.Errorf("%w: a user name has no colon (RFC 7617 §2)", errUsage)
		}
		password, err := readPassword(streams)
		if err != nil {
			return err
		}
		hash, err := hashPassword(password, *useBcrypt)
		if err != nil {
			return err
		}
		switch {
		case *htpasswd:
			_, err = fmt.Fprintf(streams.Out, "%s:%s\n", *user, hash)
		case *user != "":
			_, err = fmt.Fprintf(streams.Out, "- {name: %s, hash: '%s'}\n", quoted(*user), hash)
		default:
			_, err = fmt.Fprintln(streams.Out, hash)
		}
		return err
	}
	return c
}

func hashPassword(password []byte, useBcrypt bool) (string, error) {
	if useBcrypt {
		if len(password) > 72 {
			return "", errors.New("the password has over 72 bytes, of which bcrypt would look at the first 72 alone: leave --bcrypt out")
		}
		hash, err := bcrypt.GenerateFromPassword(password, bcryptCost)
		return string(hash), err
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	tag := argon2.IDKey(password, salt, argonPasses, argonMemory, argonLanes, argonTag)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes, b64(salt), b64(tag)), nil
}

// maxPassword bounds what is read; it is what Basic takes too.
const maxPassword = 1024

func readPassword(streams IO) ([]byte, error) {
	in := int(os.Stdin.Fd())
	if !isTerminal(in) {
		return onePassword(os.Stdin)
	}
	first, err := promptPassword(streams, in, "Password: ")
	if err != nil {
		return nil, err
	}
	second, err := promptPassword(streams, in, "Again: ")
	switch {
	case err != nil:
		return nil, err
	case string(first) != string(second):
		return nil, errors.New("the passwords differ")
	}
	return first, nil
}

func promptPassword(streams IO, in int, prompt string) ([]byte, error) {
	if _, err := fmt.Fprint(streams.Err, prompt); err != nil {
		return nil, err
	}
	restore, err := withoutEcho(in)
	if err != nil {
		return nil, fmt.Errorf("hiding what is typed: %w", err)
	}
	password, err := onePassword(os.Stdin)
	_, newline := fmt.Fprintln(streams.Err)
	return password, errors.Join(err, restore(), newline)
}

// onePassword is one line without its end.
func onePassword(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword+2)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line = slices.Clone([]byte(strings.TrimRight(string(line), "\r\n")))
	switch {
	case len(line) == 0:
		return nil, errors.New("no password was given: type one, or write one line to standard input")
	case len(line) > maxPassword:
		return nil, fmt.Errorf("a password has at most %d bytes", maxPassword)
	case !utf8.Valid(line) || slices.ContainsFunc(line, func(c byte) bool { return c < ' ' || c == 0x7f }):
		return nil, errors.New("a password is UTF-8 without control characters (RFC 7617 §2)")
	}
	return line, nil
}

type madeKey struct {
	Key     string    `json:"key"`
	Prefix  string    `json:"prefix"`
	ID      string    `json:"id"`
	SHA256  string    `json:"sha256"`
	Subject string    `json:"subject"`
	Scopes  []string  `json:"scopes,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

func newAPIKey(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:   "api-key",
		Short: "make an API key: the key for its owner, and the entry for Credentials, which holds its hash alone",
		Long: `api-key makes a key of the form prefix_id_secret_crc with 256 random bits, and prints it once: nobody can get it back from the entry, which goes to
spec.apiKeys.keys of Credentials.`,
		Example: `  credence credentials api-key --subject billing --prefix shop --scope orders:read --expires 2160h
  credence credentials api-key --subject billing --prefix shop -o json`,
	}
	f := c.Flags()
	subject := f.String("subject", "", "whom the key speaks for (required)")
	prefix := f.String("prefix", "", "2 to 16 letters and digits, the same for all keys of the Credentials: spec.apiKeys.prefix (required)")
	scopes := f.StringArray("scope", nil, "scope of its owner; may be given several times")
	expires := f.String("expires", "", "when it ends: a duration (2160h) or a time (2027-01-31T00:00:00Z); default never")
	format.add(c)
	c.RunE = func(_ *cobra.Command, _ []string) error {
		if *subject == "" || *prefix == "" {
			return fmt.Errorf("%w: a key needs --subject and --prefix; see `credence credentials api-key --help`", errUsage)
		}
		end, err := endOf(*expires, time.Now())
		if err != nil {
			return err
		}
		k, err := apikey.Generate(*prefix)
		if err != nil {
			return fmt.Errorf("%w: --prefix: %w", errUsage, err)
		}
		made := madeKey{Key: k.Text, Prefix: *prefix, ID: k.ID, SHA256: k.SHA256, Subject: *subject, Scopes: *scopes, Expires: end}
		if format == "json" {
			return printJSON(streams.Out, made)
		}
		return printKey(streams, &made)
	}
	return c
}

func endOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d, durationErr := time.ParseDuration(text)
		if durationErr != nil {
			return end, fmt.Errorf("%w: --expires %q is neither a duration such as 2160h nor a time such as 2027-01-31T00:00:00Z", errUsage, text)
		}
		end = now.Add(d)
	}
	if !end.After(now) {
		return end, fmt.Errorf("%w: --expires %q has passed", errUsage, text)
	}
	return end.UTC().Truncate(time.Second), nil
}

// printKey writes the entry to Out, for a file, and the key itself to Err, for a person.
func printKey(streams IO, k *madeKey) error {
	if _, err := fmt.Fprintf(streams.Err, "The key, which is shown this once:\n\n  %s\n\nThe entry for spec.apiKeys.keys of Credentials with prefix: %s\n\n", k.Key, k.Prefix); err != nil {
		return err
	}
	entry := fmt.Sprintf("- id: %s\n  sha256: %s\n  subject: %s\n", quoted(k.ID), k.SHA256, quoted(k.Subject))
	if len(k.Scopes) > 0 {
		list := make([]string, len(k.Scopes))
		for i, s := range k.Scopes {
			list[i] = quoted(s)
		}
		entry += "  scopes: [" + strings.Join(list, ", ") + "]\n"
	}
	if !k.Expires.IsZero() {
		entry += "  expires: " + k.Expires.Format(time.RFC3339) + "\n"
	}
	_, err := io.WriteString(streams.Out, entry)
	return err
}

// quoted is a YAML scalar in single quotes (YAML 1.2 §7.3.2).
func quoted(s string) string { return "'" + strings.ReplaceAll(oneLine(s), "'", "''") + "'" }
