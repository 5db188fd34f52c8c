package simfleet

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"

	"golang.org/x/crypto/ssh"
)

// person is somebody, or something, that logs in.
type person struct {
	name string
	left bool // no longer with the company; the keys are still around
	key  publicKey
}

// publicKey is one SSH public key. Nobody has its private half.
type publicKey struct {
	kind, blob, comment string
	fingerprint         string // as sshd logs it: "ED25519 SHA256:…"
}

func (k publicKey) line() string { return strings.TrimSuffix(k.kind+" "+k.blob+" "+k.comment, " ") }

// people is the pool from which all keys of the world come.
type people struct {
	staff   []person // those with keys of their own
	leavers []person
	ansible person
	ci      person
	backup  person
	shared  person // one key that a whole team passes around
	weak    []person
	hostile []publicKey // comments that attack a screen or a report
	ca      publicKey   // signs user certificates
}

var staffNames = []string{
	"alice", "bob", "carol", "dmitri", "elena", "farid", "grace", "hiro", "ines", "jonas", "kavya", "liam", "maya",
	"noor", "oscar", "priya", "quentin", "rosa", "sven",
}

var leaverNames = []string{"tom", "ursula", "viktor", "wanda", "xavier", "yusuf"}

func (g *generator) makePeople() *people {
	r := g.rng("people")
	p := &people{}
	kinds := []string{"ed25519", "ed25519", "rsa3072", "ed25519", "ecdsa", "rsa2048", "ed25519", "rsa4096"}
	for i, n := range staffNames {
		p.staff = append(p.staff, person{name: n, key: makeKey(r, kinds[i%len(kinds)], n+"@"+pick(r, []string{"laptop", "mbp", "thinkpad", "corp.example"}))})
	}
	for i, n := range leaverNames {
		p.leavers = append(p.leavers, person{name: n, left: true, key: makeKey(r, []string{"rsa2048", "ed25519", "rsa1024"}[i%3], n+"@old-laptop")})
	}
	robot := func(name, kind, comment string) person {
		return person{name: name, key: makeKey(r, kind, comment)}
	}
	p.ansible = robot("ansible", "rsa4096", "ansible@ci.corp.example")
	p.ci = robot("deploy", "ed25519", "gitlab-runner deploy key")
	p.backup = robot("backup", "ed25519", "nightly backup")
	p.shared = robot("webteam", "rsa2048", "webteam shared key - do not delete")
	p.weak = []person{robot("legacy", "rsa1024", "root@oldmaster"), robot("legacy", "dsa", "nagios@monitor01")}
	p.hostile = []publicKey{
		makeKey(r, "ed25519", "\x1b[2J\x1b[31mowned\x1b]0;pwned\x07 eve@evil"),
		makeKey(r, "ed25519", `<script>alert("key")</script><img src=x onerror=alert(1)>`),
		makeKey(r, "ed25519", "caf\xe9 \xff\xfe not utf-8"),
	}
	p.ca = makeKey(r, "ed25519", "corp-user-ca-2025")
	return p
}

// makeKey builds a public key from the random stream. An RSA or DSA modulus
// here is a random number of the right size: without the private half nobody
// can tell, and seeking primes would take seconds.
func makeKey(r *rand.Rand, kind, comment string) publicKey {
	var wire []byte
	switch kind {
	case "ed25519":
		public := ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize)).Public().(ed25519.PublicKey)
		wire = ssh.Marshal(struct {
			Name string
			Key  []byte
		}{ssh.KeyAlgoED25519, public})
	case "ecdsa":
		wire = ssh.Marshal(struct {
			Name, Curve string
			Point       []byte
		}{ssh.KeyAlgoECDSA256, "nistp256", curvePoint(r)})
	case "dsa":
		wire = ssh.Marshal(struct {
			Name       string
			P, Q, G, Y *big.Int
		}{"ssh-dss", oddNumber(r, 1024), oddNumber(r, 160), oddNumber(r, 1020), oddNumber(r, 1020)})
	default:
		var bits int
		if _, err := fmt.Sscanf(kind, "rsa%d", &bits); err != nil {
			panic("simfleet: unknown kind of key " + kind)
		}
		wire = ssh.Marshal(struct {
			Name string
			E, N *big.Int
		}{ssh.KeyAlgoRSA, big.NewInt(65537), oddNumber(r, bits)})
	}
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		panic(fmt.Sprintf("simfleet: made a bad %s key: %v", kind, err))
	}
	return publicKey{
		kind: key.Type(), blob: base64.StdEncoding.EncodeToString(wire), comment: comment,
		fingerprint: shortType(key.Type()) + " " + ssh.FingerprintSHA256(key),
	}
}

// shortType is the type's name in sshd's log.
func shortType(algorithm string) string {
	switch algorithm {
	case ssh.KeyAlgoED25519:
		return "ED25519"
	case ssh.KeyAlgoRSA:
		return "RSA"
	case "ssh-dss":
		return "DSA"
	}
	return "ECDSA"
}

func curvePoint(r *rand.Rand) []byte {
	for {
		if key, err := ecdh.P256().NewPrivateKey(randomBytes(r, 32)); err == nil {
			return key.PublicKey().Bytes()
		}
	}
}

// oddNumber has exactly the given number of bits.
func oddNumber(r *rand.Rand, bits int) *big.Int {
	n := new(big.Int).SetBytes(randomBytes(r, (bits+7)/8))
	for i := n.BitLen() - 1; i >= bits; i-- {
		n.SetBit(n, i, 0)
	}
	return n.SetBit(n.SetBit(n, bits-1, 1), 0, 1)
}

// OperatorUser is the account with the operator's key on nearly every Linux host.
const OperatorUser = "ops"

// OperatorKey gives the operator's SSH key: the private half in OpenSSH's PEM
// form, the public half as a line for authorized_keys. It depends on the seed
// alone. In a healthy world it opens nothing: there each host has a key of its
// own for the operator, see OperatorFiles.
func (w *World) OperatorKey() (private []byte, public string) {
	g := generator{seed: w.Seed}
	seed := randomBytes(g.rng("operator"), ed25519.SeedSize)
	const comment = OperatorUser + "@corp.example"
	return privatePEM(seed, comment), publicOf(seed, comment).line()
}

// operatorSeed is the operator's key for one host of a healthy world.
func (g *generator) operatorSeed(host string) []byte {
	return randomBytes(g.rng("operator", host), ed25519.SeedSize)
}

func operatorComment(host string) string { return OperatorUser + "@corp.example " + host }

func privatePEM(seed []byte, comment string) []byte {
	block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(seed), comment)
	if err != nil {
		panic(fmt.Sprintf("simfleet: writing the operator's key: %v", err))
	}
	return pem.EncodeToMemory(block)
}

func publicOf(seed []byte, comment string) publicKey {
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		panic(fmt.Sprintf("simfleet: reading the operator's key: %v", err))
	}
	return publicKey{
		kind: key.Type(), blob: base64.StdEncoding.EncodeToString(key.Marshal()), comment: comment,
		fingerprint: shortType(key.Type()) + " " + ssh.FingerprintSHA256(key),
	}
}
