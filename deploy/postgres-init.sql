-- One database per service; their tables never meet.
CREATE DATABASE catalog;
CREATE DATABASE subscription;
