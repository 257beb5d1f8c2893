// Package decode turns the text of a manifest file into objects: YAML or JSON, several documents to a file, Lists unpacked.
//
//	text -> tree (one YAML node pass: positions, duplicate keys, bounds) -> schema walk (every unknown, mis-cased, mistyped and
//	unsupported field at once) -> sigs.k8s.io/json, strict -> defaults -> checks of the one object -> canonical JSON
//
// Nothing is ignored in silence. A field that is not known or not supported is an error with its place; only what a Kubernetes
// API server adds of its own (status, managedFields, uid, resourceVersion, generation, creationTimestamp and the like) is dropped,
// and objects of foreign API groups are skipped with a notice. A null is refused in a spec: "from:" whose items were
// commented out must not come to mean "anybody".
//
// Objects get the defaults that the CRDs give, and namespace "default". Paths of files in our kinds that are relative are
// relative to the directory of the manifest and are absolute in what is returned.
//
// What needs other objects (references, attachment, claims) is the matter of policy/compile.
package decode
