for unit in esplanade-boot systemd-networkd; do
    systemctl show "$unit.service" >"/lab/$unit"
done
journalctl -o cat -u esplanade-boot.service >/lab/said
: >/lab/reported
