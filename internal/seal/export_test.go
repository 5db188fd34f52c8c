package seal

// SetWorkFactor makes scrypt quick.
func SetWorkFactor(a *AgeFile, logN int) { a.workFactor = logN }

// Split and ParseEnvelope read what others may have written.
var (
	Split         = split
	ParseEnvelope = parseEnvelope
	OpenAge       = openAge
)
