// Programs SAs and policies with github.com/vishvananda/netlink and prints how long that took, in nanoseconds.
//
// The file named by its argument has one object a line:
//
//	sa SOURCE DESTINATION SPI REQID KEY WINDOW
//	policy in|out|fwd SOURCE DESTINATION PRIORITY INDEX TUNNEL-SOURCE TUNNEL-DESTINATION REQID
//
// The objects are made before the clock starts, and all go through one handle: the library at its best.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: %s FILE", os.Args[0])
	}
	states, policies, err := read(os.Args[1])
	if err != nil {
		return err
	}
	handle, err := netlink.NewHandle(syscall.NETLINK_XFRM)
	if err != nil {
		return err
	}
	defer handle.Close()
	start := time.Now()
	for _, state := range states {
		if err := handle.XfrmStateAdd(state); err != nil {
			return fmt.Errorf("adding %v: %w", state, err)
		}
	}
	for _, policy := range policies {
		if err := handle.XfrmPolicyAdd(policy); err != nil {
			return fmt.Errorf("adding %v: %w", policy, err)
		}
	}
	fmt.Println(time.Since(start).Nanoseconds())
	return nil
}

func read(path string) (states []*netlink.XfrmState, policies []*netlink.XfrmPolicy, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 7 && words[0] == "sa":
			states = append(states, state(words[1:]))
		case len(words) == 9 && words[0] == "policy":
			policies = append(policies, policy(words[1:]))
		default:
			return nil, nil, fmt.Errorf("not an object: %q", lines.Text())
		}
	}
	return states, policies, lines.Err()
}

func state(words []string) *netlink.XfrmState {
	return &netlink.XfrmState{
		Src:          net.ParseIP(words[0]),
		Dst:          net.ParseIP(words[1]),
		Proto:        netlink.XFRM_PROTO_ESP,
		Mode:         netlink.XFRM_MODE_TUNNEL,
		Spi:          number(words[2]),
		Reqid:        number(words[3]),
		ReplayWindow: number(words[5]),
		Aead:         &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: key(words[4]), ICVLen: 128},
	}
}

func policy(words []string) *netlink.XfrmPolicy {
	directions := map[string]netlink.Dir{
		"in": netlink.XFRM_DIR_IN, "out": netlink.XFRM_DIR_OUT, "fwd": netlink.XFRM_DIR_FWD,
	}
	return &netlink.XfrmPolicy{
		Dir:      directions[words[0]],
		Src:      network(words[1]),
		Dst:      network(words[2]),
		Priority: number(words[3]),
		Index:    number(words[4]),
		Tmpls: []netlink.XfrmPolicyTmpl{{
			Src:   net.ParseIP(words[5]),
			Dst:   net.ParseIP(words[6]),
			Proto: netlink.XFRM_PROTO_ESP,
			Mode:  netlink.XFRM_MODE_TUNNEL,
			Reqid: number(words[7]),
		}},
	}
}

func number(text string) int {
	return must(strconv.Atoi(text))
}

func key(text string) []byte {
	return must(hex.DecodeString(text))
}

func network(text string) *net.IPNet {
	_, network, err := net.ParseCIDR(text)
	return must(network, err)
}

// The file is the benchmark's own: what is wrong with it is a defect.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
