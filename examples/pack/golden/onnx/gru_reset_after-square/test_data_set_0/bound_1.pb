BY_hJ0!S6JR6ÊPS6’;S6òR6ÄäS6
[T6b‡R6S6}±R6Þ‚R6š5S6