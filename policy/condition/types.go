package condition

import (
	"errors"
	"maps"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// getter is one field of a variable. There is nothing where ok is false.
type getter func(in *Input) (value any, ok bool, err error)

// provider knows the types of the variables beside those of the language.
type provider struct {
	types.Provider
	fields map[string]map[string]*types.FieldType
}

func newProvider(base types.Provider) provider {
	return provider{base, map[string]map[string]*types.FieldType{
		varRequest: requestFields(), varUser: userFields(), varPeer: peerFields(), varToken: tokenFields(),
	}}
}

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.fields[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if fields, ok := p.fields[name]; ok {
		return slices.Sorted(maps.Keys(fields)), true
	}
	return p.Provider.FindStructFieldNames(name)
}

func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields, ok := p.fields[name]; ok {
		f, ok := fields[field]
		return f, ok
	}
	return p.Provider.FindStructFieldType(name, field)
}

// NewValue refuses to make one of the variables' types: nobody is who an expression says.
func (p provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := p.fields[name]; ok {
		return types.NewErr("a value of type %s can't be made", name)
	}
	return p.Provider.NewValue(name, fields)
}

// adapter reads the numbers of claims.
type adapter struct{ types.Adapter }

func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case Number:
		n, err := v.Exact()
		if err != nil {
			return types.WrapErr(err)
		}
		return a.Adapter.NativeToValue(n)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return a.Adapter.NativeToValue(v)
}

var (
	errAbsent = errors.New("the field is not there")
	errTarget = errors.New("not a variable")
)

func field(t *types.Type, get getter) *types.FieldType {
	return &types.FieldType{
		Type: t,
		IsSet: func(target any) bool {
			in, ok := target.(*Input)
			if !ok {
				return false
			}
			_, ok, err := get(in)
			return ok && err == nil
		},
		GetFrom: func(target any) (any, error) {
			in, ok := target.(*Input)
			if !ok {
				return nil, errTarget
			}
			v, ok, err := get(in)
			switch {
			case err != nil:
				return nil, err
			case !ok:
				return nil, errAbsent
			}
			return v, nil
		},
	}
}

// text is a field that is there where it is not empty.
func text(get func(in *Input) string) *types.FieldType {
	return field(cel.StringType, func(in *Input) (any, bool, error) {
		s := get(in)
		return s, s != "", nil
	})
}

var (
	stringList  = cel.ListType(cel.StringType)
	stringLists = cel.MapType(cel.StringType, stringList)
	jsonObject  = cel.MapType(cel.StringType, cel.DynType)
)

func requestFields() map[string]*types.FieldType {
	return map[string]*types.FieldType{
		"method": text(func(in *Input) string { return in.Method }),
		"scheme": text(func(in *Input) string { return in.Scheme }),
		"host":   text(func(in *Input) string { return in.Host }),
		"ip":     text(func(in *Input) string { return in.IP }),
		"path": field(cel.StringType, func(in *Input) (any, bool, error) {
			p, err := in.path()
			return p, true, err
		}),
		"segments": field(stringList, func(in *Input) (any, bool, error) {
			return listOf(in.Segments), true, nil
		}),
		"params": field(cel.MapType(cel.StringType, cel.StringType), func(in *Input) (any, bool, error) {
			if in.Params == nil {
				return map[string]string{}, true, nil
			}
			return in.Params, true, nil
		}),
		"headers": field(stringLists, func(in *Input) (any, bool, error) { return in.headers(), true, nil }),
		"query": field(stringLists, func(in *Input) (any, bool, error) {
			q, err := in.query()
			return q, true, err
		}),
		"time": field(cel.TimestampType, func(in *Input) (any, bool, error) { return in.Time, !in.Time.IsZero(), nil }),
	}
}

// ofUser is a field of the user, which is not there without one.
func ofUser(t *types.Type, get func(u *User) (any, bool)) *types.FieldType {
	return field(t, func(in *Input) (any, bool, error) {
		if in.User == nil {
			return nil, false, nil
		}
		v, ok := get(in.User)
		return v, ok, nil
	})
}

func userText(get func(u *User) string) *types.FieldType {
	return ofUser(cel.StringType, func(u *User) (any, bool) {
		s := get(u)
		return s, s != ""
	})
}

func userList(get func(u *User) []string) *types.FieldType {
	return ofUser(stringList, func(u *User) (any, bool) { return listOf(get(u)), true })
}

// listOf is s itself, which the language never changes, and an empty list where there is none.
func listOf(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func userTime(get func(u *User) time.Time) *types.FieldType {
	return ofUser(cel.TimestampType, func(u *User) (any, bool) {
		t := get(u)
		return t, !t.IsZero()
	})
}

func userClaims() *types.FieldType {
	return ofUser(jsonObject, func(u *User) (any, bool) {
		if u.Claims == nil {
			return map[string]any{}, true
		}
		return u.Claims, true
	})
}

func userFields() map[string]*types.FieldType {
	return map[string]*types.FieldType{
		"subject":    userText(func(u *User) string { return u.Subject }),
		"issuer":     userText(func(u *User) string { return u.Issuer }),
		"client":     userText(func(u *User) string { return u.Client }),
		"credential": userText(func(u *User) string { return u.Credential }),
		"acr":        userText(func(u *User) string { return u.ACR }),
		"service":    ofUser(cel.BoolType, func(u *User) (any, bool) { return u.Service, true }),
		"scopes":     userList(func(u *User) []string { return u.Scopes }),
		"roles":      userList(func(u *User) []string { return u.Roles }),
		"groups":     userList(func(u *User) []string { return u.Groups }),
		"auth_time":  userTime(func(u *User) time.Time { return u.AuthTime }),
		"claims":     userClaims(),
	}
}

func tokenFields() map[string]*types.FieldType {
	return map[string]*types.FieldType{
		"id":        userText(func(u *User) string { return u.TokenID }),
		"issued_at": userTime(func(u *User) time.Time { return u.IssuedAt }),
		"expires":   userTime(func(u *User) time.Time { return u.Expires }),
		"claims":    userClaims(),
	}
}

func peerFields() map[string]*types.FieldType {
	return map[string]*types.FieldType{
		"id": text(func(in *Input) string { return in.Peer }),
		"trust_domain": text(func(in *Input) string {
			id, _, _ := in.peer()
			return id.TrustDomain().Name()
		}),
		"namespace": text(func(in *Input) string {
			_, ns, _ := in.peer()
			return ns
		}),
		"path": text(func(in *Input) string {
			id, _, _ := in.peer()
			return id.Path()
		}),
	}
}
