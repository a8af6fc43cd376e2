import { formatSubnet, type Subnet } from "./cidr.ts";

/** A bridge whose containers are translated and guarded. */
export interface FilteredBridge {
  readonly name: string;
  readonly subnet: Subnet;
}

/** A host port led to a container. */
export interface FilteredPort {
  readonly protocol: "tcp" | "udp";
  /** "0.0.0.0" or one IPv4 address of the host. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerIp: string;
  readonly containerPort: number;
}

/** All that a table says. */
export interface FilterState {
  readonly table: string;
  readonly bridges: readonly FilteredBridge[];
  readonly ports: readonly FilteredPort[];
  /** This host forwarded nothing before the engine came: forward for its bridges alone. */
  readonly isForwardingOurs: boolean;
}

/** The chains of the table. */
export const chainNames = ["guard", "ports", "masquerade_out", "forward"] as const;

/**
 * The whole table, in one transaction that replaces it.
 *
 * `guard` runs before connection tracking: a container's address is reached from its host and its
 * own bridges alone, never routed to from outside, and what is published on a loopback address
 * never from another machine. `ports` leads published ports to containers, of packets that arrive
 * from outside or from containers; clients on the host itself are served by the sandbox.
 */
export function formatTable(state: FilterState): string {
  const t = `inet ${state.table}`;
  const bridges = state.bridges.map(({ name }) => `"${name}"`);
  const pairs = state.bridges.map(({ name }) => `"${name}" . "${name}"`);
  const subnets = state.bridges.map(({ subnet }) => formatSubnet(subnet));
  return `table ${t} { }; delete table ${t};
table ${t} {
  set bridges { type ifname; ${elements(bridges)} };
  set same_bridge { type ifname . ifname; ${elements(pairs)} };
  set subnets { type ipv4_addr; flags interval; ${elements(subnets)} };
  map ports_any { type inet_proto . inet_service : ipv4_addr . inet_service; };
  map ports_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; };
  set ports_loopback { type ipv4_addr . inet_proto . inet_service; };
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname "lo" accept;
    ip daddr @subnets iifname != @bridges drop;
    ip daddr . meta l4proto . th dport @ports_loopback drop;
  };
  chain ports {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @ports_at;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports_any;
  };
  chain masquerade_out {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @subnets oifname != @bridges masquerade;
    ip saddr @subnets oifname @bridges ct status dnat masquerade;
  };
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname . oifname @same_bridge accept;
    oifname @bridges ct state established,related accept;
    oifname @bridges ct status dnat accept;
    oifname @bridges drop;
    ${state.isForwardingOurs ? "iifname != @bridges drop;" : ""}
  };
};
${state.ports.map((port) => `${formatPort("add", { table: state.table, port })};`).join("\n")}`;
}

/** The command that adds or deletes the element of one port. */
export function formatPort(
  verb: "add" | "delete",
  options: { readonly table: string; readonly port: FilteredPort },
): string {
  const { table, port } = options;
  const to = ` : ${port.containerIp} . ${port.containerPort}`;
  const key = `${port.protocol} . ${port.hostPort}`;
  switch (setOf(port)) {
    case "ports_any":
      return `${verb} element inet ${table} ports_any { ${key}${to} }`;
    case "ports_at":
      return `${verb} element inet ${table} ports_at { ${port.hostIp} . ${key}${to} }`;
    case "ports_loopback":
      return `${verb} element inet ${table} ports_loopback { ${port.hostIp} . ${key} }`;
  }
}

/** Tells two ports apart as the kernel's sets do. */
export function keyOf(port: FilteredPort): string {
  return `${port.hostIp} ${port.protocol} ${port.hostPort}`;
}

function setOf(port: FilteredPort): "ports_any" | "ports_at" | "ports_loopback" {
  if (port.hostIp === "0.0.0.0") return "ports_any";
  return port.hostIp.startsWith("127.") ? "ports_loopback" : "ports_at";
}

function elements(list: readonly string[]): string {
  return list.length === 0 ? "" : `elements = { ${list.join(", ")} };`;
}
