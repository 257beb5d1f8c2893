package token

// Object is the parser of the two objects of a token.
var Object = object
