package app

import (
	"path/filepath"
	"slices"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// passwordFiles tells what is wrong with the htpasswd files of set: the lines, where they stand. A file that is not here may be where the
// product will run.
func passwordFiles(set *policy.Set, objects []*manifests.Object) []manifests.Diagnostic {
	if set == nil {
		return nil
	}
	var out []manifests.Diagnostic
	for i := range set.Credentials {
		c := &set.Credentials[i]
		if c.Htpasswd == nil {
			continue
		}
		key := manifests.Key{Group: v1alpha1.Group, Kind: v1alpha1.KindCredentials, Namespace: c.Name.Namespace, Name: c.Name.Name}
		lines, err := basic.CheckFile(c.Htpasswd.File)
		for _, l := range lines {
			out = append(out, manifests.Diagnostic{
				Severity: manifests.Error, Code: "htpasswd", Pos: manifests.Position{File: l.File, Line: l.Line}, Object: key, Message: l.Message,
				Hint: "make the hash anew with `credence credentials hash`, or `htpasswd -B`",
			})
		}
		if err != nil {
			out = append(out, manifests.Diagnostic{
				Severity: manifests.Warning, Code: "htpasswd", Pos: fieldOf(objects, key, "spec.basic.htpasswd.file"), Object: key,
				Message: "its users are not known: " + err.Error(), Hint: "without a good file every password is answered with 503",
			})
		}
	}
	return out
}

func fieldOf(objects []*manifests.Object, key manifests.Key, field string) manifests.Position {
	for _, o := range objects {
		if o.Key == key {
			return o.At(field)
		}
	}
	return manifests.Position{}
}

// notPasswordFiles leaves the files out that passwordFiles has looked at.
func notPasswordFiles(skipped []string, set *policy.Set) []string {
	if set == nil {
		return skipped
	}
	return slices.DeleteFunc(slices.Clone(skipped), func(name string) bool {
		path, err := filepath.Abs(name)
		return err == nil && slices.ContainsFunc(set.Credentials, func(c policy.Credentials) bool { return c.Htpasswd != nil && c.Htpasswd.File == path })
	})
}
