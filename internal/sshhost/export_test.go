package sshhost

// Certified makes the certificate of one login.
var Certified = certified
