package simfleet

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// FreePort gives a TCP port of 127.0.0.1 at which nothing listens, for a server that
// opens its port itself. It is below those that Linux gives to connections (from
// 32768 on, ip_local_port_range in ip(7)), so that none of these takes it meanwhile.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
