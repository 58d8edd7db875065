-- Rooms that application services list in the room directory, each under one of its networks.
CREATE TABLE app_service_rooms (
    service_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    room_nid BIGINT NOT NULL,
    PRIMARY KEY (service_id, network_id, room_nid)
);
CREATE INDEX app_service_rooms_room ON app_service_rooms (room_nid);
