// Package session is the client side of Session Manager's data channel.
package session
