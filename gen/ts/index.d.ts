/**
 * The response header, in gRPC and in HTTP, that names the change that a write has
 * made. WaitChange takes the name.
 */
export declare const changeHeader = "tidegate-change";
