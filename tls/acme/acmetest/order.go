package acmetest

import (
	"encoding/base64"
	"encoding/json"
)

// Orders returns how many orders there have been for a host.
func (c *CA) Orders(host string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orders[host]
}

// AllOrders returns how many orders there have been.
func (c *CA) AllOrders() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, count := range c.orders {
		n += count
	}
	return n
}

// Replacing returns how many orders named the replaced certificate (RFC 9773 section
// 5).
func (c *CA) Replacing() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replacing
}

// countOrder counts an order.
func (c *CA) countOrder(body []byte) {
	names, replaces := orderIn(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		c.orders[name]++
	}
	if replaces != "" {
		c.replacing++
	}
}

// orderIn reads the names of an order, and the certificate it replaces, from its signed
// payload.
func orderIn(body []byte) (names []string, replaces string) {
	var signed struct {
		Payload string `json:"payload"`
	}
	var order struct {
		Identifiers []struct{ Value string } `json:"identifiers"`
		Replaces    string                   `json:"replaces"`
	}
	if json.Unmarshal(body, &signed) != nil {
		return nil, ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil {
		return nil, ""
	}
	for _, i := range order.Identifiers {
		names = append(names, i.Value)
	}
	return names, order.Replaces
}
