//! Schemas of single values that several kinds use, each with its rule and the message that says what to write.
//!
//! Rules are CEL, not `pattern` or `minLength`: those messages show an expression, not what is wanted. Everything is
//! bounded, because the API server refuses rules that could be costly.

use schemars::{Schema, SchemaGenerator, json_schema};

/// For enums: the description of an optional field is its own, not the type's.
pub(crate) fn undescribed(schema: &mut Schema) {
    schema.remove("description");
}

/// For what the operator writes from what was checked where a user wrote it: without rules, which the API server finds
/// too costly in lists without an end.
pub(crate) fn unchecked(schema: &mut Schema) {
    schemars::transform::transform_subschemas(&mut unchecked, schema);
    schema.remove("x-kubernetes-validations");
}

/// A Kubernetes object's name.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "!format.dns1123Subdomain().validate(self).hasValue()",
            "message": "write the object's name: lower-case letters, digits, '-' and '.', a letter or digit first and \
                        last",
        }],
    })
}

/// Names of Kubernetes objects, each once.
pub(crate) fn object_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": object_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// A key in a Secret's `data`.
pub(crate) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[-._a-zA-Z0-9]+$')",
            "message": "write the key in the Secret's data: letters, digits, '-', '_' and '.'",
        }],
    })
}

/// The IP address of one host.
pub(crate) fn host_address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 45,
        "x-kubernetes-validations": [
            {
                "rule": "isIP(self)",
                "message": "write an IPv4 or IPv6 address without a prefix length, e.g. 192.0.2.1 or 2001:db8::1",
            },
            {
                "rule": "!isIP(self) || ip(self).isGlobalUnicast()",
                "message": "write the address of one host that other hosts can reach: not an unspecified, \
                            loopback, link-local, multicast or broadcast address",
            },
        ],
    })
}

/// An X25519 public key, base64.
pub(crate) fn public_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 44,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[A-Za-z0-9+/]{43}=$')",
            "message": "write an X25519 public key: 32 bytes in base64",
        }],
    })
}

/// A point in time.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// A network with its prefix length and without host bits.
pub(crate) fn network(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 49,
        "x-kubernetes-validations": [{
            "rule": "isCIDR(self) && cidr(self) == cidr(self).masked()",
            "message": "write a network with its prefix length and without host bits, e.g. 192.0.2.0/24 or \
                        2001:db8::/64",
        }],
    })
}

/// Networks outside the cluster.
pub(crate) fn networks(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": network(generator),
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": [{
            "rule": "self.size() > 0",
            "message": "write at least one network, e.g. 192.0.2.0/24",
        }],
    })
}

/// A protocol inside IP, by name or number.
pub(crate) fn traffic_protocol(_: &mut SchemaGenerator) -> Schema {
    // One by one: the API server takes a look at the type of an IntOrString for too costly in a list.
    let numbers: Vec<String> = (1..=u8::MAX).map(|number| number.to_string()).collect();
    let rule =
        format!("self in ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6'] || self in [{}]", numbers.join(", "));
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "x-kubernetes-validations": [{
            "rule": rule,
            "message": "write TCP, UDP, SCTP, ICMP, ICMPv6, or another protocol's IANA number without quotes, 1 to 255, \
                        e.g. 47 for GRE",
        }],
    })
}

/// Hours, minutes and seconds; more than nothing.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 24,
        "x-kubernetes-validations": [{
            // At most 5, 6 and 7 digits: within what CEL's duration() can hold.
            "rule": "self.matches('^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$') && self.matches('[1-9]')",
            "message": "write a length of time in hours, minutes and seconds, more than 0, e.g. 24h or 1h30m",
        }],
    })
}

/// A count of packets or bytes that can be reached.
pub(crate) fn limit(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 1 })
}

/// A Security Parameters Index (RFC 4303 §2.1: 1 to 255 are reserved, 0 is for local use).
pub(crate) fn spi(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "x-kubernetes-validations": [{
            "rule": "self >= 256 && self <= 4294967295",
            "message": "write 256 to 4294967295; 0 to 255 are reserved (RFC 4303 §2.1)",
        }],
    })
}

/// 32 bits.
pub(crate) fn word(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "x-kubernetes-validations": [{ "rule": "self >= 0 && self <= 4294967295", "message": "write 0 to 4294967295" }],
    })
}

/// The number of a CPU; no kernel has more (`CONFIG_NR_CPUS`).
pub(crate) fn cpu(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "x-kubernetes-validations": [{ "rule": "self >= 0 && self <= 8191", "message": "write a CPU's number, from 0" }],
    })
}

/// 32 bits, not all zero.
pub(crate) fn nonzero_word(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "x-kubernetes-validations": [{ "rule": "self >= 1 && self <= 4294967295", "message": "write 1 to 4294967295" }],
    })
}

/// A label selector whose mistakes are told apart. The API server itself checks none of it in custom resources.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    const KEY: &str = "write a label's key, e.g. example.com/role: at most 63 letters, digits, '-', '_' and '.', after \
                       an optional DNS name and '/'";
    const VALUE: &str = "write a label's value: at most 63 letters, digits, '-', '_' and '.', a letter or digit first \
                         and last";
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels with their values; all must be there. At most 32.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": {
                    "type": "string",
                    "maxLength": 63,
                    "x-kubernetes-validations": [{
                        "rule": "!format.labelValue().validate(self).hasValue()", "message": VALUE,
                    }],
                },
                "x-kubernetes-validations": [{
                    "rule": "self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k).hasValue())",
                    "message": KEY,
                }],
            },
            "matchExpressions": {
                "description": "Requirements on labels; all must be met. At most 8.",
                "type": "array",
                "maxItems": 8,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label's key.",
                            "type": "string",
                            "maxLength": 317,
                            "x-kubernetes-validations": [{
                                "rule": "!format.qualifiedName().validate(self).hasValue()", "message": KEY,
                            }],
                        },
                        "operator": {
                            "description": "`In` or `NotIn`: the label's value is (not) one of `values`. `Exists` or \
                                            `DoesNotExist`: the label is (not) there.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "With `In` and `NotIn`: the values. At most 32.",
                            "type": "array",
                            "maxItems": 32,
                            "x-kubernetes-list-type": "atomic",
                            "items": {
                                "type": "string",
                                "maxLength": 63,
                                "x-kubernetes-validations": [{
                                    "rule": "!format.labelValue().validate(self).hasValue()", "message": VALUE,
                                }],
                            },
                        },
                    },
                    "x-kubernetes-validations": [
                        {
                            "rule": "!(self.operator in ['In', 'NotIn']) || \
                                     (has(self.values) && self.values.size() > 0)",
                            "message": "operators In and NotIn need values: write values: [VALUE, …], or operator: \
                                        Exists or DoesNotExist",
                        },
                        {
                            "rule": "self.operator in ['In', 'NotIn'] || !has(self.values) || self.values.size() == 0",
                            "message": "operators Exists and DoesNotExist take no values: remove values, or write \
                                        operator: In or NotIn",
                        },
                    ],
                },
            },
        },
    })
}
