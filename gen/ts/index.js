export const changeHeader = "tidegate-change";
