package bolt_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/credence-mesh/credence/store/bolt"
	"github.com/credence-mesh/credence/store/storetest"
)

func engine() storetest.Engine {
	return storetest.Engine{
		Open: func(dir string, o storetest.Options) (storetest.Store, error) {
			return bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Now: o.Now, MaxBytes: o.MaxBytes})
		},
		Dump: func(dir string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, "store.db")) },
	}
}

func TestMain(m *testing.M) { storetest.Main(m, engine()) }

func TestStore(t *testing.T) { storetest.Run(t, engine()) }
